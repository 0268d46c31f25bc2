"""The hosts of an environment as pyinfra's groups, taken from the settings.

The hosts are described in stack/settings.<name>.toml and settings.<name>.local.toml.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from provisioning.fleet import Members, groups_of
from stack import settings


def groups(environment: str) -> dict[str, Members]:
    """log_servers, app_hosts, dashboards, alerting and archive, each with its hosts."""
    # Its tracebacks would be printed; what pyinfra says of a host that does not answer is enough.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    _make_known_hosts(Path.home() / ".ssh")
    environ = {**os.environ, settings.ENV_VARIABLE: environment}
    return groups_of(settings.load_for_hosts(environment, environ))


def _make_known_hosts(folder: Path) -> None:
    """Create the file that new hosts' keys are added to; pyinfra needs it to exist."""
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "known_hosts").touch(mode=0o600)
