"""Interrupted deploys and broken connections: hosts stay usable and unlocked."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stack.settings import ROOT
from tests.support.host_containers import FleetUnderTest
from tests.support.native_stack import poll

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

LOCK = "/run/logstack-deploy.json"


@contextmanager
def slow_deploy(fleet: FleetUnderTest) -> Iterator[subprocess.Popen[str]]:
    """A deploy that waits for an agent whose port another program has."""
    fleet.values = {**fleet.values, "ports": {"otelcol_metrics": 18999}}
    host = fleet.hosts["app-2"]
    argv = [str(ROOT / "logstack"), "hosts", "deploy", "staging"]
    fleet.deployed = ""
    with host.listener(18999):
        run = subprocess.Popen(
            argv, env=fleet.environ, stdout=-1, stderr=subprocess.STDOUT, text=True
        )
        try:
            swapped = "grep -l 18999 /etc/logstack/otelcol/config.yaml || true"
            poll(lambda: host.sh(swapped).strip(), "the new configuration", timeout=60)
            time.sleep(1)  # it is being waited for now
            yield run
        finally:
            run.kill()
            run.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_stopped_deploy_gives_the_locks_back(
    fleet: FleetUnderTest, number: signal.Signals
) -> None:
    """Ctrl-C or a closed terminal: the same command again continues."""
    with slow_deploy(fleet) as run:
        run.send_signal(number)
        text, _ = run.communicate(timeout=15)
        assert run.returncode == 130, text
        assert "stopped. To continue, run the same command again" in text
        assert "Traceback" not in text
        for host in fleet.hosts.values():
            assert host.sh(f"cat {LOCK} 2>/dev/null || true") == ""
    fleet.deploy()
    assert fleet.hosts["app-2"].sh("systemctl is-active logstack-otelcol").strip() == "active"
    assert "0 changes on 3 hosts" in fleet.deploy()


def test_a_connection_that_breaks_is_named(fleet: FleetUnderTest) -> None:
    """The others are finished and unlocked; the run fails and says which host was lost."""
    with slow_deploy(fleet) as run:
        host = fleet.hosts["app-2"]
        host.sh("pkill -u deploy sshd")
        text, _ = run.communicate(timeout=60)
        assert run.returncode == 1, text
        assert "app-2: otelcol: " in text
        assert "Traceback" not in text
        assert re.search(r"app-1: \d changes", text)
        for name in ("logs-1", "app-1"):
            assert fleet.hosts[name].sh(f"cat {LOCK} 2>/dev/null || true") == ""
    result = fleet.run("hosts", "unlock", "staging")
    assert "app-2: released the lock of" in result.stdout
    fleet.deploy()
    assert fleet.hosts["app-2"].sh("systemctl is-active logstack-otelcol").strip() == "active"
    assert "0 changes on 3 hosts" in fleet.deploy()
