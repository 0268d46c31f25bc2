"""The hosts of an environment as pyinfra's groups, taken from the settings.

The hosts are described in stack/settings.<name>.toml and settings.<name>.local.toml.
"""

from __future__ import annotations

import os

from provisioning.fleet import Members, groups_of
from stack import settings


def groups(environment: str) -> dict[str, Members]:
    """log_servers, app_hosts, dashboards, alerting and archive, each with its hosts."""
    environ = {**os.environ, settings.ENV_VARIABLE: environment}
    return groups_of(settings.load_for_hosts(environment, environ))
