"""Exact search for the photos that show a class best."""
