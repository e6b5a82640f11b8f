"""Putting banks, models and region memories on the Hugging Face Hub, with a model card."""
