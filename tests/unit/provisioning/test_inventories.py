"""The inventories as pyinfra's own command reads them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from pyinfra import logger
from pyinfra.api.inventory import Inventory

from provisioning import DeployError, fleet
from stack import settings
from stack.settings import ROOT

FILES = [
    ROOT / "provisioning" / f"{name}.py"
    for name in ("deploy", "rollback", "verify", "doctor", "unlock", "make_secrets")
]


def pyinfra(
    *arguments: str, folder: Path = ROOT, variables: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, str]:
    """The status and the output of pyinfra's own command."""
    command = Path(sys.executable).with_name("pyinfra")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LOGSTACK_")}
    result = subprocess.run(
        [str(command), "-y", *arguments],
        cwd=folder, env={**inherited, **variables}, capture_output=True, text=True, timeout=60,
        check=False,
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


def of_groups(all_hosts: dict[str, dict[str, Any]], **groups: list[str]) -> Inventory:
    """An inventory of the user's own, with the data of each host."""
    named = {"logstack_environment": "staging"}
    data = [(name, {**named, **values}) for name, values in all_hosts.items()]
    return Inventory((data, {}), **{name: (hosts, {}) for name, hosts in groups.items()})


TWO: dict[str, dict[str, Any]] = {"store": {}, "shop": {}}


@pytest.mark.parametrize(
    ("group", "meant"),
    [("app_host", "app_hosts"), ("apphosts", "app_hosts"), ("log_server", "log")],
)
def test_a_group_that_looks_mistyped_is_refused(group: str, meant: str) -> None:
    """Its hosts would leave the fleet, and the gateway would drop their passwords."""
    inventory = of_groups(TWO, log_servers=["store"], **{group: ["shop"]})
    expected = f"{group}: expected one of the groups log_servers, .* Did you mean {meant}"
    with pytest.raises(DeployError, match=expected):
        fleet.settings_of(inventory)


def test_groups_of_a_team_are_its_own_matter() -> None:
    """Also one like ours, if its hosts are in ours; hosts in none of ours are named."""
    inventory = of_groups(
        {**TWO, "mail": {}}, log_servers=["store"], app_hosts=["shop"],
        app_hosts_eu=["shop"], mail_servers=["mail"],
    )  # fmt: skip
    assert list(fleet.settings_of(inventory).hosts) == ["store", "shop"]
    assert fleet.outsiders(inventory) == ["mail"]


def test_settings_may_be_data_of_any_host() -> None:
    inventory = of_groups(
        {
            "store": {"LOGSTACK_RETENTION__HOT_DAYS": 9},
            "shop": {"LOGSTACK_AGENT__FLUSH_INTERVAL": "7s"},
        },
        log_servers=["store"], app_hosts=["shop"],
    )  # fmt: skip
    values = fleet.settings_of(inventory)
    assert (values.retention.hot_days, values.agent.flush_interval) == (9, "7s")


@pytest.mark.parametrize(
    ("store", "shop", "expected"),
    [
        (
            {"LOGSTACK_RETENTION__HOT_DAYS": 9}, {"LOGSTACK_RETENTION__HOT_DAYS": 8},
            "LOGSTACK_RETENTION__HOT_DAYS: expected one value for all hosts, "
            r"got 9 \(store\) and 8 \(shop\)",
        ),
        (
            {}, {"logstack_environment": "prod"},
            "logstack_environment: expected one value for all hosts, got 'staging'",
        ),
        *(
            ({name: "x"}, {}, f"{name}: expected it in the environment of the command")
            for name in ("LOGSTACK_ENV", "LOGSTACK_SECRETS", "LOGSTACK_SECRET_READER_BOB")
        ),
        (
            {"LOGSTACK_RETENTION__HOT_DAYS": "many"}, {},
            r"retention.hot_days: .* \(from the inventory\). Set it in the data of the "
            "inventory as LOGSTACK_RETENTION__HOT_DAYS",
        ),
        (
            {"LOGSTACK_RETENTION": {"hot_days": 3}}, {},
            r"LOGSTACK_RETENTION: unknown setting \(from the inventory\)",
        ),
    ],
)  # fmt: skip
def test_data_that_cannot_hold_for_all_hosts_are_refused(
    store: dict[str, Any], shop: dict[str, Any], expected: str
) -> None:
    inventory = of_groups({"store": store, "shop": shop}, log_servers=["store"], app_hosts=["shop"])
    with pytest.raises(DeployError, match=expected):
        fleet.settings_of(inventory)


@pytest.mark.parametrize("option", ["--limit", "--exclude"])
@pytest.mark.parametrize("value", ["app1", "app_host"])
def test_a_limit_without_a_host_is_an_error(option: str, value: str) -> None:
    """pyinfra warns, does nothing and exits 0."""
    groups = {"log_servers": ["logs-1"], "app_hosts": ["app-1"], "archive": []}
    argv = ["pyinfra", "x.py", option, "app-*", f"{option}=app_hosts", option, "all"]
    fleet.check_patterns(argv, ["logs-1", "app-1"], groups)
    expected = rf"{option}: expected a host or group \(logs-1, app-1, log_servers, app_hosts\), got"
    for more in ([option, value], [f"{option}={value}"], [option, "archive"]):
        with pytest.raises(DeployError, match=expected):
            fleet.check_patterns([*argv, *more], ["logs-1", "app-1"], groups)


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        (
            ("staging.py", "debug-inventory"),
            {"LOGSTACK_RETENTION__HOT_DAY": "3"},
            "unknown setting",
        ),
        (("staging.py", "debug-inventory", "--limit", "app1"), {}, "got 'app1'"),
        (("environment.py", "debug-inventory"), {}, "LOGSTACK_ENV: expected an environment"),
    ],
)
def test_an_inventory_that_cannot_be_read_says_why(
    arguments: tuple[str, ...], variables: dict[str, str], expected: str
) -> None:
    """One sentence, a status, and no traceback."""
    file, *others = arguments
    status, text = pyinfra(f"provisioning/inventories/{file}", *others, variables=variables)
    assert status == 1, text
    assert expected in text
    assert "Traceback" not in text


def test_an_inventory_may_add_hosts_to_ours(tmp_path: Path) -> None:
    """Its groups are known to `--limit`, too."""
    inventory = tmp_path / "inventory.py"
    inventory.write_text(
        "from provisioning.inventories import groups\n"
        'globals().update(groups("staging"))\nprinters = ["printer-1"]\n'
    )
    status, text = pyinfra(str(inventory), "debug-inventory", "--limit", "printers")
    assert status == 0, text
    assert "printer-1" in text


def test_missing_secrets_of_an_inventory_are_made_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`logstack secrets init` knows only the hosts of the settings."""
    monkeypatch.setenv("LOGSTACK_SECRETS", str(tmp_path / "secrets.json"))
    inventory = of_groups(TWO, log_servers=["store"], app_hosts=["shop"])
    values, remedy = fleet.settings_of(inventory), fleet.remedy_of(inventory)
    expected = f"Run: pyinfra -y INVENTORY {ROOT / 'provisioning' / 'make_secrets.py'}"
    with pytest.raises(DeployError, match=f"{re.escape(expected)}$"):
        fleet.prepare(values, lambda *_: None, remedy)


def test_debug_output_has_no_passwords(caplog: pytest.LogCaptureFixture) -> None:
    for password in ("open-sesame", 'it\'s "open"'):
        arguments = {"_sudo": True, "_sudo_password": password, "_timeout": 3}
        with caplog.at_level("DEBUG", logger="pyinfra"):
            logger.debug("Starting deploy %s (args=%r)", "Start", arguments)
        assert "'_sudo_password': '***', '_timeout': 3" in caplog.text
        assert "open" not in caplog.text


def test_pyinfra_runs_a_command_on_its_hosts_still() -> None:
    """The inventories are for that."""
    status, text = pyinfra("@local", "exec", "--", "true")
    assert status == 0, text
