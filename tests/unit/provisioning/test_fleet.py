"""The hosts of the settings as pyinfra's inventory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from provisioning import DeployError
from provisioning.fleet import groups_of
from tests.support.example import settings_with


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Before any host is connected to."""
    lost = {"address": "127.0.0.1", "roles": ["log_server"], "ssh_key": str(tmp_path / "no-key")}
    expected = f"hosts.logs-1.ssh_key: expected a readable file, got {tmp_path / 'no-key'}"
    with pytest.raises(DeployError, match=re.escape(expected)):
        groups_of(settings_with(hosts={"logs-1": lost}))
