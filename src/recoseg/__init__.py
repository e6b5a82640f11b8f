"""Segment photos into classes that a user merely names (ReCo)."""
