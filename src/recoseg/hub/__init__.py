"""Banks, models and region memories on the Hugging Face Hub: addresses, layout, local copies."""
