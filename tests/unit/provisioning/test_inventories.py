"""The inventories as pyinfra's own command reads them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pyinfra.api.inventory import Inventory

from provisioning import fleet
from stack import settings
from stack.settings import ROOT

FILES = [
    ROOT / "provisioning" / f"{name}.py"
    for name in ("deploy", "rollback", "verify", "doctor", "unlock", "make_secrets")
]


def pyinfra(*arguments: str, folder: Path = ROOT) -> tuple[int, str]:
    """The status and the output of pyinfra's own command."""
    command = Path(sys.executable).with_name("pyinfra")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LOGSTACK_")}
    result = subprocess.run(
        [str(command), "-y", *arguments],
        cwd=folder, env=inherited, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_pyinfra_reads_the_inventory(environment: str) -> None:
    """Every host of the settings with its groups; also the groups of roles without hosts."""
    status, text = pyinfra(f"provisioning/inventories/{environment}.py", "debug-inventory")
    assert status == 0, text
    groups = dict(re.findall(r"\[(\S+)\].*?\n.*?Groups: ([^\n]*)\n", text))
    assert list(groups) == list(settings.load_for_hosts(environment, {}).hosts)
    assert {"log_servers", "alerting", "archive", "dashboards"} <= set(groups["logs-1"].split(", "))
    assert "app_hosts" in groups["app-2"].split(", ")
    assert "log_servers" not in groups["app-2"].split(", ")


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_a_deploy_file_says_what_it_needs(file: Path, tmp_path: Path) -> None:
    """On hosts of no group of ours, from any directory: one sentence and a status, no traceback."""
    status, text = pyinfra("@local", str(file), folder=tmp_path)
    assert status != 0, text
    assert "inventory: expected hosts in the groups log_servers, app_hosts" in text
    assert "Traceback" not in text


def test_an_inventory_of_the_users_own_describes_hosts() -> None:
    """Groups are roles, data are settings; the hosts of the settings are not mixed with them."""
    data = {
        "logstack_environment": "staging",
        "LOGSTACK_RETENTION__HOT_DAYS": "7",
        "LOGSTACK_APP_HOSTS__JOURNAL": False,
        "LOGSTACK_APP_HOSTS__APPS": [{"service": "shop", "user": "www-data"}],
        "LOGSTACK_GATEWAY__READERS": ["alice"],
    }
    inventory = Inventory(
        (["store.example.net", "shop-1.example.net", "printer.example.net"], data),
        log_servers=([("store.example.net", {"private_address": "10.0.0.1"})], {}),
        app_hosts=(["shop-1.example.net"], {}),
    )
    values = fleet.settings_of(inventory)
    assert values.retention.hot_days == 7
    assert not values.app_hosts.journal
    assert values.app_hosts.apps[0].service == "shop"
    assert values.gateway.readers == ("alice",)
    assert {name: (host.peer_address, host.roles) for name, host in values.hosts.items()} == {
        "store.example.net": ("10.0.0.1", ("log_server",)),
        "shop-1.example.net": ("shop-1.example.net", ("app_host",)),
    }


def test_pyinfra_runs_a_command_on_its_hosts_still() -> None:
    """The inventories are for that."""
    status, text = pyinfra("@local", "exec", "--", "true")
    assert status == 0, text
