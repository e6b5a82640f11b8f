"""The whole method, one function per command: what the command line, the demo and users call."""
