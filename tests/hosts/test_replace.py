"""A new machine in the place of a log server, as docs/operations.md describes it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.hosts.conftest import started_or_skipped
from tests.support.host_archives import archiver, restart, write
from tests.support.host_containers import DEPLOY_USER, FleetUnderTest, TestHost
from tests.support.host_load import load, numbers, wait_for_all
from tests.support.native_stack import poll

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


def test_a_replaced_log_server_has_every_record(tmp_path: Path) -> None:
    """What was stored, what waited in queues meanwhile, and the archive on its disk."""
    with started_or_skipped(("logs-1", "app-1", "logs-2"), tmp_path) as fleet:
        old, new = fleet.hosts["logs-1"], replace(fleet.hosts["logs-2"], name="logs-1")
        fleet.hosts = {name: fleet.hosts[name] for name in ("logs-1", "app-1")}
        fleet.roles = {name: fleet.roles[name] for name in fleet.hosts}
        fleet.deploy()
        write(fleet, timedelta(hours=3))
        restart(fleet)
        archived = json.loads(archiver(fleet, "verify", "--deep"))["records"]
        assert archived >= 1
        with load(fleet, ("app-1",)) as writers:
            poll(lambda: numbers(fleet, writers[0]).total() > 20, lambda: fleet.journals())
            old.sh("systemctl stop 'logstack-*'")
            copy_state(fleet, old, new)
            fleet.hosts["logs-1"] = new
            fleet.prepare()
            fleet.deploy()
        wait_for_all(fleet, writers)
        report = json.loads(archiver(fleet, "verify", "--deep"))
        assert report["problems"] == []
        assert report["records"] >= archived
        result = fleet.run("hosts", "verify", "staging")
        assert result.returncode == 0, result.stdout + result.stderr


def copy_state(fleet: FleetUnderTest, old: TestHost, new: TestHost) -> None:
    """What the services keep, to a machine that has neither them nor their users."""
    ssh = f"ssh -i {fleet.key} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    read = f"{ssh} {DEPLOY_USER}@{old.address} sudo tar -C /var/lib -c logstack"
    unpack = f"{ssh} {DEPLOY_USER}@{new.address} sudo tar -C /var/lib -x --no-same-owner"
    script = f"set -o pipefail; {read} | {unpack}"
    subprocess.run(["bash", "-c", script], check=True, capture_output=True, timeout=120)
