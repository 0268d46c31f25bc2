"""Data of every host of these inventories."""

# Programs are uploaded to here first: a /tmp in memory would be too small for them.
_temp_dir = "/var/tmp"  # noqa: S108
