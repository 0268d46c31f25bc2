"""Check records and policies: `pyinfra INVENTORY provisioning/verify.py`."""

from provisioning import deploys

deploys.verify()
