"""The archiver of a host, and records for it."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta

from tests.support.host_containers import FleetUnderTest
from tests.support.native_stack import poll

LIB = "/opt/logstack/archiver/current/lib"


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
