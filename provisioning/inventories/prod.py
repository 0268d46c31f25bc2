"""The hosts of prod: `pyinfra provisioning/inventories/prod.py provisioning/deploy.py`."""

from provisioning.inventories import groups

globals().update(groups("prod"))
