"""The first things that happen to bare hosts. The other modules share them and come later."""

from __future__ import annotations

import pytest

from tests.support.host_containers import FleetUnderTest

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


def test_a_plan_changes_nothing(bare_fleet: FleetUnderTest) -> None:
    """On bare hosts it lists every file and service, and leaves none behind."""
    result = bare_fleet.run("hosts", "plan", "staging")
    assert result.returncode == 0, result.stderr
    assert "start service logstack-victorialogs" in result.stdout
    assert "start service logstack-otelcol" in result.stdout
    for host in bare_fleet.hosts.values():
        assert host.sh("ls -d /etc/logstack /opt/logstack 2>/dev/null || true") == ""


def test_the_first_deploy_delivers_records(bare_fleet: FleetUnderTest) -> None:
    """From bare hosts, by a user that is not root, to records that come back parsed."""
    bare_fleet.deploy()
    result = bare_fleet.run("hosts", "verify", "staging")
    assert result.returncode == 0, result.stdout + result.stderr + bare_fleet.journals()
    assert result.stdout.count("canary record was read back parsed") == 2
    for text in (
        *("records are kept", "shipped rules are loaded", "the certificate is valid for"),
        "checks passed: hot retention, shorter retention, lateness, disk, object lock, expiry",
    ):
        assert text in result.stdout
    doctor = bare_fleet.run("doctor", "--env", "staging")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert "FAILED" not in doctor.stdout
