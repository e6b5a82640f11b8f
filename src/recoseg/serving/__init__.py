"""The server: segmenting, retrieving and learning over HTTP, and a page for browsers."""
