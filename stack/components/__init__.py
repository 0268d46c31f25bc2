"""One module per program: how to build, start, configure and check it."""
