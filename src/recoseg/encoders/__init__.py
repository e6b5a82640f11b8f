"""The models, behind three small protocols."""
