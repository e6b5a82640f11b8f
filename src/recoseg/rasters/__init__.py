"""Rasters of any size, read and written by windows."""
