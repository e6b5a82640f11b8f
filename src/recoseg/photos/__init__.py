"""Photos: their paths, bytes and pixels."""
