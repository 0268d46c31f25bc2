"""Release the locks of a deploy that was killed: `pyinfra INVENTORY provisioning/unlock.py`."""

from provisioning import deploys

deploys.unlock()
