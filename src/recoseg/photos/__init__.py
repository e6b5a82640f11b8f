"""Photos: where they lie, their bytes, their pixels."""
