"""Two banks, settings, evaluations or folders of masks side by side."""
