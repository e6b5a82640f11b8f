"""Photos for each class, by search over the archive's embeddings."""
