"""Generate missing secrets: `pyinfra -y INVENTORY provisioning/make_secrets.py`.

For an inventory of your own; `logstack secrets init` knows the hosts of the settings. Prints names,
never values. Like every deploy file it connects to the hosts first.
"""

from provisioning import deploys

deploys.make_secrets()
