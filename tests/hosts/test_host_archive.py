"""The archive on a host: hours are archived, verified days leave the engine, alerts can see it."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tests.hosts.harness import FleetUnderTest
from tests.native.harness import poll

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

LIB = "/opt/logstack/archiver/current/lib"
PARTITIONS = "/var/lib/logstack/victorialogs/partitions"


def write(fleet: FleetUnderTest, age: timedelta) -> datetime:
    """A record of the past in an application's log; returns once the engine has it."""
    moment, mark = datetime.now(UTC) - age, uuid.uuid4().hex
    record = {
        "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "level": "INFO",
        "logger_name": "past", "message": "of the past", "service_name": "erp-backend-api",
        "environment": "staging", "request_id": mark,
    }  # fmt: skip
    host = fleet.hosts["app-1"]
    path = "/var/log/erp-backend-api/past.log"
    host.sh(f"runuser -u erp -- tee -a {path} > /dev/null <<'END'\n{json.dumps(record)}\nEND")
    poll(lambda: fleet.query(f'_time:7d request_id:="{mark}"'), lambda: fleet.journals())
    return moment


def archiver(fleet: FleetUnderTest, *arguments: str) -> str:
    """One of the archiver's other commands, as its user."""
    argv = f"runuser -u logstack-victorialogs -- python3 -I {LIB} {' '.join(arguments)}"
    return fleet.hosts["logs-1"].sh(argv)


def runs(fleet: FleetUnderTest) -> list[dict[str, str]]:
    """What the archiver said of its runs, read from the engine."""
    return fleet.query(
        '_time:1h service_name:="logstack-archiver" event_type:="archive_run_finished"'
    )


def restart(fleet: FleetUnderTest) -> None:
    """The archiver works at its start; returns when the engine has the record of that run."""
    before = len(runs(fleet))
    fleet.hosts["logs-1"].sh("systemctl restart logstack-archiver")
    poll(lambda: len(runs(fleet)) > before, lambda: fleet.journals(), timeout=60)


def test_an_hour_is_archived_and_its_run_reaches_the_engine(fleet: FleetUnderTest) -> None:
    """Read back from the object store it is whole; the journal brings the archiver's own record."""
    write(fleet, timedelta(hours=3))
    restart(fleet)
    newest = max(runs(fleet), key=lambda row: row["_time"])
    assert int(newest["archived_records"]) >= 1
    assert newest["host"] == "logs-1"
    report = json.loads(archiver(fleet, "verify", "--deep"))
    assert report["problems"] == []
    assert report["records"] >= 1


def test_a_verified_day_leaves_the_engine(fleet: FleetUnderTest) -> None:
    """The archiver may remove it from the engine's folder, and from nowhere else."""
    host = fleet.hosts["logs-1"]
    day = f"{write(fleet, timedelta(days=4)):%Y%m%d}"
    restart(fleet)  # while such records may still arrive, their hours are looked at
    assert day in host.sh(f"ls {PARTITIONS}").split()
    fleet.values = {
        **fleet.values,
        "retention": {"hot_days": 1},
        "archive": {"lateness": "1d"},
    }
    fleet.deploy()
    poll(
        lambda: day not in host.sh(f"ls {PARTITIONS}").split(), lambda: fleet.journals(), timeout=60
    )
    assert json.loads(archiver(fleet, "verify", "--deep"))["problems"] == []


def test_a_store_that_is_away_is_no_reason_to_stop(fleet: FleetUnderTest) -> None:
    """The archiver runs on and says what is wrong; `verify` fails with the reason."""
    host = fleet.hosts["logs-1"]
    host.sh("systemctl stop logstack-seaweedfs")
    try:
        host.sh("systemctl restart logstack-archiver")
        failed = '_time:5m service_name:="logstack-archiver" event_type:="archive_run_failed"'
        poll(lambda: fleet.query(failed), lambda: fleet.journals(), timeout=60)
        assert host.sh("systemctl is-active logstack-archiver").strip() == "active"
    finally:
        host.sh("systemctl start logstack-seaweedfs")
