"""Undo the changes of the last deploy: `pyinfra INVENTORY provisioning/rollback.py`.

A second run redoes them.
"""

from provisioning import deploys

deploys.roll_back()
