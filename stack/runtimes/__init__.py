"""The local runtimes, native and Docker, and which of the two is meant."""
