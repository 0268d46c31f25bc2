"""Generate missing secrets: `pyinfra INVENTORY provisioning/make_secrets.py`.

For an inventory of your own; `logstack secrets init` knows the hosts of the settings. Prints names,
never values.
"""

from pyinfra import inventory

from provisioning import fleet
from stack.cli.console import out
from stack.hosts import secrets

values = fleet.settings_of(inventory)
path = secrets.secrets_path(values.stack.environment)
for name in secrets.init(path, values):
    out.print(f"generated {name} in {path.name}")
