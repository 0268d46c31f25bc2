"""The fleet in the settings: where it comes from, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from stack import settings
from stack.hosts import HostsError
from stack.hosts import roles as fleet
from stack.settings import ROOT, SettingsError
from tests.support.example import settings_with

SERVER = {"address": "10.0.0.1", "roles": ["log_server"]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with the shipped settings and nothing else."""
    (tmp_path / "stack").mkdir()
    for path in (ROOT / "stack").glob("settings*.toml"):
        shutil.copy(path, tmp_path / "stack")
    return tmp_path


def hosts(root: Path, name: str = "staging", **environ: str) -> list[str]:
    return list(settings.load_for_hosts(name, environ, root).hosts)


def refusal(**hosts: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as caught:
        settings_with(hosts=hosts)
    return str(caught.value)


@pytest.mark.parametrize(("name", "servers"), [("staging", 1), ("prod", 3)])
def test_the_shipped_environments_describe_a_fleet(root: Path, name: str, servers: int) -> None:
    """Staging has one log server, production three."""
    values = settings.load_for_hosts(name, {}, root)
    assert len(fleet.hosts_with_role(values, "log_server")) == servers
    assert values.stack.environment == name


def test_an_own_file_replaces_the_fleet_of_the_example(root: Path) -> None:
    """The example's hosts do not stay beside it; its other values do."""
    (root / "settings.staging.local.toml").write_text(
        '[hosts.mine]\naddress = "10.1.1.1"\nroles = ["log_server"]\n', encoding="utf-8"
    )
    assert hosts(root) == ["mine"]
    assert settings.load_for_hosts("staging", {}, root).app_hosts.apps[0].user == "erp"


def test_a_file_elsewhere_wins_over_the_own_one(root: Path, tmp_path: Path) -> None:
    """A fleet may be kept in another repository."""
    path = tmp_path / "elsewhere.toml"
    path.write_text('[hosts.there]\naddress = "a"\nroles = ["log_server"]\n', encoding="utf-8")
    assert hosts(root, LOGSTACK_SETTINGS=str(path)) == ["there"]


def test_values_of_this_machine_do_not_reach_hosts(root: Path) -> None:
    """A developer's port offset is his alone."""
    (root / "settings.local.toml").write_text("[ports]\noffset = 700\n", encoding="utf-8")
    assert settings.load({}, root).ports.offset == 700
    assert settings.load_for_hosts("staging", {}, root).ports.offset == 0


def test_an_environment_of_ones_own_needs_one_file(root: Path) -> None:
    """settings.lab.local.toml makes the environment lab."""
    (root / "settings.lab.local.toml").write_text(
        '[hosts.one]\naddress = "a"\nroles = ["log_server", "app_host"]\n', encoding="utf-8"
    )
    assert hosts(root, "lab") == ["one"]


def test_an_unknown_environment_is_refused(root: Path) -> None:
    """The known ones are listed."""
    with pytest.raises(SettingsError, match="expected one of prod, staging, got 'stagin'"):
        hosts(root, "stagin")


@pytest.mark.parametrize(
    ("fleet_of", "expected"),
    [
        (
            {"a": {**SERVER, "roles": ["log_sever"]}},
            "hosts.a.roles.0: expected one of 'log_server', 'app_host', 'dashboards', 'alerting' "
            "or 'archive', got 'log_sever'",
        ),
        ({"a": {"roles": ["log_server"]}}, "hosts.a.address: expected a value, got nothing"),
        (
            {"a": SERVER, "b": SERVER},
            "hosts.b.address: expected a different address per host, got 10.0.0.1, "
            "which hosts.a also has",
        ),
        (
            {"a": {**SERVER, "roles": ["app_host"]}},
            "hosts.a.roles: expected a host with the role log_server, got none",
        ),
        (
            {"a": SERVER, "b": {"address": "b", "roles": ["alerting"]}},
            "hosts.b.roles: expected alerting on a log server, because it reads the engine "
            "beside it",
        ),
        (
            {"a": {**SERVER, "roles": ["log_server", "log_server"]}},
            "hosts.a.roles: expected each role once, got log_server twice",
        ),
        ({"a": {**SERVER, "ssh_port": 0}}, "hosts.a.ssh_port: expected a port between 1 and 65535"),
        ({"a": {**SERVER, "addres": "x"}}, "hosts.a.addres: unknown setting"),
        ({"A B": SERVER}, "hosts.A B"),
    ],
)
def test_a_fleet_that_cannot_be_is_refused(fleet_of: dict[str, Any], expected: str) -> None:
    """The error names the key, what was expected and what was got."""
    assert refusal(**fleet_of).startswith(expected)


def test_one_machine_may_be_two_hosts_at_two_ports(root: Path) -> None:
    """Behind a forwarding of ports the address is the same."""
    values = settings_with(hosts={"a": SERVER, "b": {**SERVER, "ssh_port": 2222}})
    assert list(values.hosts) == ["a", "b"]


def test_what_nobody_does_the_first_log_server_does() -> None:
    """Alerts, dashboards and the archive, unless somebody has the role."""
    values = settings_with(
        hosts={"a": SERVER, "b": {"address": "b", "roles": ["log_server", "archive"]}}
    )
    assert fleet.roles_of(values, "a") == ("log_server", "dashboards", "alerting")
    assert fleet.roles_of(values, "b") == ("log_server", "archive")


def test_a_host_that_is_not_there_is_named_with_those_that_are() -> None:
    """A typing mistake in a command."""
    with pytest.raises(HostsError, match=r"expected one of a, got 'b'"):
        fleet.find_host(settings_with(hosts={"a": SERVER}), "b")


def test_agents_write_to_every_victorialogs_and_to_one_address_of_loki() -> None:
    """VictoriaLogs replicates nothing, Loki replicates itself."""
    servers = {name: {**SERVER, "address": name} for name in ("a", "b", "c")}
    fleet_of = {**servers, "x": {"address": "x", "roles": ["app_host"]}}

    def urls(**sections: dict[str, Any]) -> list[str]:
        values = settings_with(hosts=fleet_of, **sections)
        return [item.url for item in fleet.destinations(values, "x", Path("/etc/x"))]

    path = "/insert/opentelemetry/v1/logs"
    assert urls() == [f"https://{name}:21019{path}" for name in ("a", "b", "c")]
    loki = {"stack": {"engine": "loki"}}
    assert urls(**loki) == ["https://a:21019/otlp/v1/logs"]
    named = urls(**loki, gateway={"name": "logs.example.net"})
    assert named == ["https://logs.example.net:21019/otlp/v1/logs"]


def test_an_environment_has_its_own_name(root: Path) -> None:
    """Records carry it and commands name it, although its file does not say it."""
    path = root / "settings.lab.local.toml"
    fleet_text = '[hosts.mine]\naddress = "10.1.1.1"\nroles = ["log_server"]\n'
    path.write_text(fleet_text, encoding="utf-8")
    assert settings.load_for_hosts("lab", {}, root).stack.environment == "lab"
    path.write_text(f'[stack]\nenvironment = "dev"\n{fleet_text}', encoding="utf-8")
    with pytest.raises(SettingsError, match=r"stack\.environment: expected lab.*got 'dev'"):
        settings.load_for_hosts("lab", {}, root)


def test_what_is_wrong_for_hosts_is_mended_in_their_file(root: Path) -> None:
    """Not in the one of this machine, which hosts do not read."""
    (root / "settings.staging.local.toml").write_text("[ports]\noffset = 'a'\n", encoding="utf-8")
    with pytest.raises(
        SettingsError, match=r"in settings\.staging\.local\.toml or as LOGSTACK_PORTS"
    ):
        hosts(root)


def test_hosts_are_no_variable(root: Path) -> None:
    with pytest.raises(SettingsError, match=r"LOGSTACK_HOSTS__A: expected \[hosts\] in a file"):
        hosts(root, LOGSTACK_HOSTS__A="10.0.0.1")


def test_an_ip_address_has_one_spelling() -> None:
    """Certificates have it too: another spelling would renew them each time."""
    host = {**SERVER, "address": "2001:0DB8:0::10", "private_address": "FD00:0::1"}
    found = settings_with(hosts={"logs-1": host}).hosts["logs-1"]
    assert (found.address, found.private_address) == ("2001:db8::10", "fd00::1")
