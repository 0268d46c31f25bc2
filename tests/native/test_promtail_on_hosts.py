"""Promtail with the configuration that hosts get, through the gateway into Loki, all real."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stack.components.log_sources import SERVICE_LABEL
from stack.engines import Record, Selection
from stack.engines.loki import Loki
from stack.hosts import secrets
from stack.hosts.plan import plan_for
from stack.records.contract import ASIDE
from stack.settings import Settings
from tests.support.forged import write_containers
from tests.support.host_checks import check
from tests.support.host_processes import HostUnderTest, binaries_of, fleet_settings, made_secrets
from tests.support.native_stack import line, marker, poll, record

pytestmark = [pytest.mark.native, pytest.mark.own_stack]

PROMTAIL = {"engine": "loki", "agent": "promtail"}


@dataclass
class Fleet:
    """A log server and an application host, of which a test runs what it needs."""

    settings: Settings
    secrets: dict[str, str]
    server: HostUnderTest
    app: HostUnderTest

    def binaries(self, name: str) -> Path:
        artifact = {"gateway": "caddy"}.get(name, name)
        return binaries_of(self.settings, artifact)[artifact]

    def write(self, text: str) -> None:
        """A line of the application."""
        path = self.app.root / "var/log/erp-backend-api/app.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def stored(self, name: str, value: str) -> list[Record]:
        now = datetime.now(UTC)
        since, until = now - timedelta(hours=1), now + timedelta(hours=1)
        engine = Loki(f"http://127.0.0.1:{self.settings.ports.loki}")
        return list(engine.records(Selection(since, until, matches={name: value}), limit=100))

    def arrived(self, name: str, value: str, count: int = 1) -> list[Record]:
        return poll(
            lambda: found if len(found := self.stored(name, value)) >= count else [],
            lambda: (self.app.root / "process-promtail/output.log").read_text("utf-8"),
        )


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Loki runs; a test starts the gateway and Promtail."""
    values = fleet_settings(stack=PROMTAIL, app_hosts={"journal": False, "docker_logs": True})
    known = made_secrets(tmp_path, values)
    plans = {name: plan_for(values, known, name) for name in values.hosts}
    hosts = {name: HostUnderTest(tmp_path / name, values, plan) for name, plan in plans.items()}
    fleet = Fleet(values, known, hosts["logs-1"], hosts["app-1"])
    with fleet.server.run("loki", fleet.binaries("loki")):
        yield fleet


def test_records_of_a_host_arrive_through_the_gateway(fleet: Fleet) -> None:
    """With the host's password, over TLS, from log files and from Docker's."""
    run = marker()
    container = fleet.app.root / "var/lib/docker/containers/c1/c1-json.log"
    container.parent.mkdir(parents=True)
    entry = {
        "log": f"in a container {run}\n",
        "stream": "stdout",
        "time": datetime.now(UTC).isoformat(),
        "attrs": {SERVICE_LABEL: "web"},
    }
    container.write_text(json.dumps(entry) + "\n", encoding="utf-8")
    fleet.write(line(record(request_id=run)))
    with (
        fleet.server.run("gateway", fleet.binaries("gateway")),
        fleet.app.run("promtail", fleet.binaries("promtail")),
    ):
        (found,) = fleet.arrived("request_id", run)
        (text,) = fleet.arrived("service_name", "web")
    assert found["host"] == "app-1"
    assert (text["message"], text["host"]) == (f"in a container {run}", "app-1")


def test_a_container_does_not_write_as_one_of_the_stack(fleet: Fleet) -> None:
    """Neither by its label nor in its lines: on a host no program of the stack is a container."""
    run = marker()
    write_containers(fleet.app.root / "var/lib/docker/containers", run)
    with (
        fleet.server.run("gateway", fleet.binaries("gateway")),
        fleet.app.run("promtail", fleet.binaries("promtail")),
    ):
        renamed = fleet.arrived("service_name", f"{ASIDE}logstack-monitor", 3)
    assert [item["host"] for item in renamed] == ["app-1"] * 3
    assert fleet.stored("service_name", "logstack-monitor") == []


def test_records_wait_in_their_file_while_the_log_server_is_unavailable(fleet: Fleet) -> None:
    """And while the password is wrong: the gateway answers 503 then."""
    run = marker()
    key = secrets.writer_secret("app-1")
    other = plan_for(fleet.settings, {**fleet.secrets, key: "another"}, "app-1")
    wrong = replace(fleet.app, plan=other)
    log = fleet.app.root / "process-promtail/output.log"
    fleet.write(line(record(request_id=run)))
    with wrong.run("promtail", fleet.binaries("promtail")):
        poll(lambda: "will retry" in log.read_text("utf-8"), "an unavailable gateway")
        with fleet.server.run("gateway", fleet.binaries("gateway")):
            poll(lambda: '"status":503' in log.read_text("utf-8"), "a refused password")
            assert fleet.stored("request_id", run) == []
            fleet.app.write("promtail")  # the password is read again for each request
            assert len(fleet.arrived("request_id", run)) == 1


def test_promtail_takes_its_configuration(tmp_path: Path) -> None:
    """Every key is known, those of the journal too; one that is not is refused."""
    values = fleet_settings(stack=PROMTAIL, app_hosts={"journal": True, "docker_logs": True})
    components = plan_for(values, made_secrets(tmp_path, values), "app-1").components
    component = next(component for component in components if component.name == "promtail")
    assert "journal:" in component.files[0].text
    result = check(component, values, tmp_path / "staged")
    assert result.returncode == 0, result.stdout + result.stderr
    files = tuple(replace(file, text=f"{file.text}\nunknown: 1\n") for file in component.files)
    assert check(replace(component, files=files), values, tmp_path / "broken").returncode != 0
