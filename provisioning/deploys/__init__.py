"""The steps of a run on one host, in their order: preflight, binary, config, service, files."""
