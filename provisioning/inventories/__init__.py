"""The hosts of an environment as pyinfra's groups, taken from the settings.

The hosts are described in stack/settings.<name>.toml and settings.<name>.local.toml.
"""

from __future__ import annotations

import sys
from pathlib import Path

from provisioning import DeployError
from provisioning.fleet import Members, check_patterns, groups_of
from stack import settings


def groups(environment: str) -> dict[str, Members]:
    """log_servers, app_hosts, dashboards, alerting and archive, each with its hosts.

    Raises DeployError, which pyinfra prints without a traceback.
    """
    if not environment:
        raise DeployError(f"{settings.ENV_VARIABLE}: expected an environment, got nothing")
    _make_known_hosts(Path.home() / ".ssh")
    try:
        values = settings.load_for_hosts(environment)
    except settings.SettingsError as error:
        raise DeployError(str(error)) from None
    found = groups_of(values)
    # An inventory of the user's may add other hosts to ours: its limits are checked later.
    if any(Path(text).resolve().parent == Path(__file__).parent for text in sys.argv):
        check_patterns(sys.argv, list(values.hosts), found)
    return found


def _make_known_hosts(folder: Path) -> None:
    """Create the file that new hosts' keys are added to; pyinfra needs it to exist."""
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "known_hosts").touch(mode=0o600)
