"""From a concept bank to label maps."""
