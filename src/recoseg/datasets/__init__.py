"""Labelled data sets: their label spaces, and readers of the folders as users have them."""
