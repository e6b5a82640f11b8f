"""The whole method, with one function per command, for the command line, the demo and Python."""
