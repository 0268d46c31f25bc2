"""One module per program: how it is built, started, configured and asked for its health."""
