"""The hosts of staging: `pyinfra provisioning/inventories/staging.py provisioning/deploy.py`."""

from provisioning.inventories import groups

globals().update(groups("staging"))
