"""What is read from a host, each in one request."""
