"""The archive on a host: hours are archived, verified days leave the engine, alerts can see it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.support.host_archives import archiver, restart, runs, write
from tests.support.host_containers import FleetUnderTest
from tests.support.native_stack import poll

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

PARTITIONS = "/var/lib/logstack/victorialogs/partitions"


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
        # It waits timing.start_timeout for the store before it reports a failure.
        poll(lambda: fleet.query(failed), lambda: fleet.journals(), timeout=120)
        assert host.sh("systemctl is-active logstack-archiver").strip() == "active"
    finally:
        host.sh("systemctl start logstack-seaweedfs")
