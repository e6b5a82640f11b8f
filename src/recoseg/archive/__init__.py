"""The index of an archive of photos: their embeddings on disk."""
