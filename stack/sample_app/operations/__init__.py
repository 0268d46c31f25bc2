"""What running the sample app needs: health check, demo data, marker for `logstack smoke`."""
