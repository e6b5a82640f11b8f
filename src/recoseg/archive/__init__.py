"""Photos, and the index of their embeddings."""
