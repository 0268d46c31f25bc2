"""The hosts of the environment that LOGSTACK_ENV names, as groups."""

import os

from provisioning.inventories import groups

globals().update(groups(os.environ.get("LOGSTACK_ENV", "")))
