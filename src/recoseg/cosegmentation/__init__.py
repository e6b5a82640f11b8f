"""What retrieved photos have in common."""
