"""Retrieval of photos for each class by searching the embeddings of an archive."""
