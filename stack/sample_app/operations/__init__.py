"""Operation of the sample app: health check, demo data, marker for `logstack smoke`."""
