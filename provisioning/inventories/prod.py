"""The hosts of prod as groups: `pyinfra provisioning/inventories/prod.py exec -- uptime`."""

from provisioning.inventories import groups

globals().update(groups("prod"))
