"""The region memory: what the regions of an archive look like, and what they fit in words."""
