"""The hosts of staging as groups: `pyinfra provisioning/inventories/staging.py exec -- uptime`."""

from provisioning.inventories import groups

globals().update(groups("staging"))
