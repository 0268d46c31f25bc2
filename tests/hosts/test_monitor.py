"""What the monitors of hosts see of files, and tell while the engine takes no records."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stack import settings
from tests.hosts.test_breakages import APP_LOGS, DATA, named, restart, small_disk
from tests.support.host_containers import FleetUnderTest
from tests.support.native_stack import poll

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


def test_a_file_that_went_unread_is_counted_on_its_host(fleet: FleetUnderTest) -> None:
    """The monitor may see how far the agent is, as its user; the log server learns of it."""
    fleet.hosts["app-1"].sh(
        "agent=$(systemctl show -P MainPID logstack-otelcol); kill -STOP $agent; "
        f"runuser -u erp -- sh -c 'echo lost > {APP_LOGS}/gone.log'; sleep 3; "
        f"rm {APP_LOGS}/gone.log; sleep 2; kill -CONT $agent"
    )
    text = "5 bytes in 1 log file of erp-backend-api went before otelcol had read them"
    named(fleet, ("app-1", "log files", text, f"{APP_LOGS}/gone.log: 5 bytes, removed at "))
    query = "_time:5m problem:=file_unread host:=app-1 watched_service:=erp-backend-api"
    poll(lambda: fleet.query(query), fleet.journals, timeout=120)


def test_an_engine_on_a_small_disk_is_an_alert_and_no_deploy(fleet: FleetUnderTest) -> None:
    """Of the log server itself, with the rule's labels; the deploy names the setting."""
    host = fleet.hosts["logs-1"]
    port = settings.load({}).ports.effective("alertmanager")

    def alerts() -> list[dict[str, Any]]:
        found = json.loads(host.get(f"http://127.0.0.1:{port}/api/v2/alerts?active=true"))
        return [item for item in found if item["labels"]["alertname"] == "EngineReadOnly"]

    host.sh(restart("victorialogs", small_disk(DATA, "logstack-victorialogs", "200m", "1")))
    try:
        poll(alerts, fleet.journals, timeout=120)
        result = fleet.run("hosts", "deploy", "staging")
        (alert,) = alerts()
    finally:
        host.sh(restart("victorialogs", f"umount {DATA}"))
    assert alert["labels"] == {
        "alertname": "EngineReadOnly",
        "severity": "page",
        "environment": "staging",
        "host": "logs-1",
        "component": "victorialogs",
    }
    assert result.returncode != 0
    said = result.stdout + result.stderr
    assert f"limits.free_disk: expected less than the disk of {DATA} has, 200 MiB, got" in said
