"""What happens to records while log servers stop, restart and are upgraded: nothing."""

from __future__ import annotations

import subprocess
import uuid

import pytest

from stack import artifacts, settings
from stack.artifacts import host_programs as programs
from stack.artifacts.builder import VERSION_VARIABLES
from stack.artifacts.go import go_environment
from tests.support.host_containers import FleetUnderTest, TestHost
from tests.support.host_load import load, numbers, wait_for_all
from tests.support.native_stack import poll

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

# What an older engine says of itself: another program of the same source, as no other release of
# it can be built from the Go module proxy.
OLDER_ENGINE = "1.52.0"


def test_a_killed_agent_and_engine_lose_nothing(fleet: FleetUnderTest) -> None:
    """`kill -9` of the agent while it has nothing to send back; systemd starts it again."""
    with load(fleet) as writers:
        for name in ("app-1", "app-2"):
            host = fleet.hosts[name]
            before = host.pid("otelcol")
            host.sh(f"kill -9 {before}")
            poll(lambda h=host, b=before: h.pid("otelcol") not in ("0", b), "another process")  # type: ignore[misc]
    for writer in writers:
        poll(
            lambda w=writer: set(numbers(fleet, w)) == set(range(w.count)),  # type: ignore[misc]
            lambda w=writer: f"every number of {w.count}\n{fleet.journals()}",  # type: ignore[misc]
            timeout=60,
        )


def test_an_upgrade_and_its_rollback_lose_nothing(fleet: FleetUnderTest) -> None:
    """The engine becomes another program with another value; a rollback returns to both."""
    build_older_engine()
    newer = fleet.values
    fleet.values = {
        **newer,
        "versions": {"victorialogs": OLDER_ENGINE},
        "limits": {"query": "9m"},
        "agent": {"flush_interval": "250ms"},
    }
    fleet.deploy()
    assert OLDER_ENGINE in version(fleet)
    fleet.values = newer
    with load(fleet) as writers:
        text = fleet.deploy()
        assert f"version of victorialogs: {OLDER_ENGINE}" in text
        assert "restart service logstack-victorialogs" in text
        assert OLDER_ENGINE not in version(fleet)
        result = fleet.run("hosts", "rollback", "staging")
        assert result.returncode == 0, result.stdout + result.stderr
    wait_for_all(fleet, writers)
    assert OLDER_ENGINE in version(fleet)
    unit = fleet.hosts["logs-1"].sh("cat /etc/systemd/system/logstack-victorialogs.service")
    assert "-search.maxQueryDuration=9m" in unit
    config = "cat /etc/logstack/otelcol/config.yaml"
    assert all("250ms" in fleet.hosts[name].sh(config) for name in fleet.hosts)


def build_older_engine() -> None:
    """The engine's source with the older version's name, where plans look for it."""
    values = settings.load({})
    older = values.model_copy(
        update={"versions": values.versions.model_copy(update={"victorialogs": OLDER_ENGINE})}
    )
    artifact = programs.catalogue(older)["victorialogs"]
    folder = artifacts.cache_dir(older) / artifact.name / artifact.key
    if folder.exists():
        return
    environment = go_environment(values, artifacts.cache_dir(values), lambda text: None)
    stamps = " ".join(f"-X {name}=v{OLDER_ENGINE}" for name in VERSION_VARIABLES)
    package = f"{artifact.packages[0]}@v{values.versions.victorialogs}"
    argv = [environment.go, "install", "-trimpath", f"-ldflags=-s -w {stamps}", package]
    scratch = folder.with_name(f".building-{uuid.uuid4().hex}")
    variables = {**environment.variables, "GOBIN": str(scratch), "CGO_ENABLED": "0"}
    subprocess.run(argv, env=variables, check=True, capture_output=True)
    scratch.rename(folder)


def test_two_servers_are_upgraded_one_after_the_other(fleet: FleetUnderTest) -> None:
    """Every agent writes to both: each has every record once, and one of them always runs."""
    fleet.roles = {**fleet.roles, "app-2": ("log_server",)}
    fleet.prepare()
    fleet.deploy()
    before = fleet.values
    with load(fleet, ("app-1",)) as writers:
        fleet.values = {**before, "limits": {"query": "8m"}}
        text = fleet.deploy()
    assert text.count("restart service logstack-victorialogs") == 2
    for server in ("logs-1", "app-2"):
        wait_for_all(fleet, writers, server)
    # All hosts share this machine's clock since its start.
    first = moment(fleet.hosts["logs-1"], "ActiveEnterTimestampMonotonic")
    second = moment(fleet.hosts["app-2"], "InactiveEnterTimestampMonotonic")
    assert first < second
    fleet.values, fleet.roles = before, {**fleet.roles, "app-2": ("app_host",)}
    text = fleet.deploy()
    for name in ("victorialogs", "gateway"):
        assert f"remove service logstack-{name}" in text
    host = fleet.hosts["app-2"]
    assert host.sh("ls -d /etc/logstack/gateway 2>/dev/null || true") == ""
    assert host.sh("systemctl is-active logstack-gateway || true").strip() == "inactive"


def moment(host: TestHost, name: str) -> int:
    """When the engine last reached a state, in microseconds."""
    return int(host.sh(f"systemctl show -p {name} --value logstack-victorialogs"))


def version(fleet: FleetUnderTest) -> str:
    """What the running engine says of itself."""
    port = settings.load({}).ports.effective("victorialogs")
    return fleet.hosts["logs-1"].get(f"http://127.0.0.1:{port}/metrics", "vm_app_version")
