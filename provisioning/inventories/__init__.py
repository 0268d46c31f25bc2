"""The hosts of an environment as pyinfra's groups, taken from the settings.

For pyinfra's own command, beside `logstack hosts`. The hosts are defined in
stack/settings.<name>.toml and settings.<name>.local.toml.
"""

from __future__ import annotations

import os

from provisioning.fleet import groups_of
from stack import settings

Members = list[tuple[str, dict[str, object]]]


def groups(environment: str) -> dict[str, Members]:
    """log_servers, app_hosts, dashboards, alerting and archive, each with its hosts."""
    layers = settings.read_layers({**os.environ, "LOGSTACK_ENV": environment}, for_hosts=True)
    return groups_of(settings.validate(layers))
