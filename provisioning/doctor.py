"""Diagnose every host: `pyinfra INVENTORY provisioning/doctor.py`."""

from provisioning import deploys

deploys.diagnose()
