"""Decoders: models that turn a photo and a word into a map of where the word's things are."""
