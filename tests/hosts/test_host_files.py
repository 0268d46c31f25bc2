"""Files of the hosts themselves: in force after a start of the host, and gone with their plan."""

from __future__ import annotations

import pytest

from provisioning import changes
from stack.hosts import firewall
from stack.hosts import log_files as app_logging
from stack.runtimes.docker.engine import run
from tests.support.host_containers import FleetUnderTest, TestHost, wait_until_booted
from tests.support.native_stack import poll

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

TABLE = f"nft list table {firewall.TABLE}"


def drops(host: TestHost) -> bool:
    """Whether the rules are in force."""
    return "drop" in host.sh(TABLE, check=False)


def start_again(host: TestHost) -> None:
    """Everything that is not on disk is lost, as with a reboot."""
    began = host.sh("stat -c %Y /proc/1")
    assert run("restart", host.container, timeout=90).returncode == 0
    wait_until_booted(host)
    assert host.sh("stat -c %Y /proc/1") != began


def test_the_firewall_of_a_cluster_is_in_force_until_it_leaves(fleet: FleetUnderTest) -> None:
    """After a start of the host, whatever becomes of nftables.service; a deploy puts it right."""
    logs, app = fleet.hosts["logs-1"], fleet.hosts["app-1"]
    roles = fleet.roles
    member = ("log_server", "alerting")
    fleet.roles = {**roles, "logs-1": member, "app-1": (*member, "app_host")}
    fleet.prepare()
    text = fleet.deploy()
    assert text.count("create file /etc/nftables.d/logstack.nft") == 1  # a log server has others
    assert text.count("change file /etc/nftables.d/logstack.nft") == 1
    assert drops(logs)
    assert drops(app)
    assert logs.sh("systemctl is-enabled nftables", check=False).strip() == "disabled"

    start_again(logs)
    assert drops(logs)
    for verb in ("start", "reload", "restart"):
        logs.sh(f"systemctl {verb} nftables")
        assert drops(logs), verb
    logs.sh("nft flush ruleset")
    app.sh("systemctl disable --now logstack-firewall")
    assert not drops(app)
    assert fleet.deploy().count("  start logstack-firewall.service") == 2
    assert drops(logs)
    assert drops(app)
    assert "0 changes on 3 hosts" in fleet.deploy()

    fleet.roles = roles
    text = fleet.deploy()
    for path in firewall.PATHS:
        assert text.count(f"remove file {path}") == 1
    assert not drops(logs)
    assert not drops(app)
    assert app.sh("systemctl is-enabled logstack-firewall", check=False) in ("", "not-found\n")
    assert app.sh("find /etc/systemd -name 'logstack-firewall*'") == ""
    assert "0 changes on 3 hosts" in fleet.deploy()


def test_files_of_applications_leave_with_them(fleet: FleetUnderTest) -> None:
    """And with what an earlier version put elsewhere; a rollback brings them back, in force."""
    app = fleet.hosts["app-1"]
    there = f"ls {' '.join(changes.OWNED)} 2>/dev/null || true"
    before = app.sh(there).split()
    assert app_logging.ROTATION_TIMER in before
    app.sh("echo '/var/log/erp/*.log {}' > /etc/logrotate.d/logstack")
    text = fleet.deploy()
    assert text.count("remove file /etc/logrotate.d/logstack") == 1
    assert "1 change on 3 hosts" in text

    fleet.values = {**fleet.values, "app_hosts": {"apps": []}}
    text = fleet.deploy()
    assert app.sh(there).split() == [app_logging.JOURNALD]
    for path in (app_logging.FOLDERS, app_logging.ROTATION, app_logging.ROTATION_TIMER):
        assert text.count(f"remove file {path}") == 2
    timer = "systemctl is-active logstack-logrotate.timer"
    assert app.sh(timer, check=False).strip() == "inactive"
    assert "0 changes on 3 hosts" in fleet.deploy()

    result = fleet.run("hosts", "rollback", "staging")
    assert result.returncode == 0, result.stdout + result.stderr
    assert app.sh(there).split() == before
    assert app.sh(timer).strip() == "active"


def test_a_log_file_that_is_too_large_is_rotated_within_the_hour(fleet: FleetUnderTest) -> None:
    """By what the timer starts, as often as it is; a small one is left for its day."""
    fleet.values = {
        **fleet.values,
        "app_hosts": {**fleet.values["app_hosts"], "rotate_size": "64KiB"},
    }
    fleet.deploy()
    app, folder = fleet.hosts["app-1"], "/var/log/erp-backend-api"
    show = "systemctl show --value -p"
    assert "hourly" in app.sh("systemctl cat logstack-logrotate.timer")
    due = app.sh(f'date -d "$({show} NextElapseUSecRealtime logstack-logrotate.timer)" +%s')
    assert 0 < int(due) - int(app.sh("date +%s")) <= 3600
    unit = app.sh(f"{show} Unit logstack-logrotate.timer").strip()
    app.sh(f"echo '{{}}' > {folder}/small.log; chown erp {folder}/small.log")
    for _ in range(2):
        app.sh(f"yes '{{}}' | head -c 100000 >> {folder}/large.log; chown erp {folder}/large.log")
        app.sh(f"systemctl start {unit}")
    names = app.sh(f"cd {folder} && ls small.log* large.log*").split()
    assert names == ["large.log", "large.log.1", "large.log.2.gz", "small.log"]
    poll(
        lambda: app.sh(f"{show} Result {unit}").strip() == "success",
        lambda: app.sh(f"journalctl -u {unit}"),
    )
