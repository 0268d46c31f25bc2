"""Deploys to hosts: what changes, what does not, what is refused and what is rolled back."""

from __future__ import annotations

import json
import shlex
import subprocess

import pytest

from stack.settings import ROOT
from tests.support.host_containers import FleetUnderTest
from tests.support.native_stack import poll

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


def test_a_second_deploy_changes_nothing(fleet: FleetUnderTest) -> None:
    """No file is written and no service restarted."""
    before = fleet.pids()
    text = fleet.deploy()
    assert "0 changes on 3 hosts" in text
    assert fleet.pids() == before
    plan = fleet.run("hosts", "plan", "staging")
    assert plan.stdout.splitlines() == [f"{name}: 0 changes" for name in fleet.hosts]


def test_one_value_changes_what_depends_on_it(fleet: FleetUnderTest) -> None:
    """One file and one service on each host, which all have an agent, and nothing else."""
    before = fleet.pids()
    fleet.values = {**fleet.values, "agent": {"flush_interval": "300ms"}}
    lines = [line for line in fleet.deploy().splitlines() if line.startswith("  ")]
    assert lines == [
        "  change file /etc/logstack/otelcol/config.yaml",
        "  restart service logstack-otelcol",
    ] * len(fleet.hosts)
    after = fleet.pids()
    restarted = {name for name in before if before[name] != after[name]}
    assert restarted == {f"{host}/logstack-otelcol.service" for host in fleet.hosts}


def test_what_was_changed_by_hand_is_put_right(fleet: FleetUnderTest) -> None:
    """An edited file, a wider mode and a stopped service."""
    app, logs = fleet.hosts["app-1"], fleet.hosts["logs-1"]
    app.sh("echo '# mine' >> /etc/logstack/otelcol/config.yaml")
    logs.sh("chmod 0644 /etc/logstack/gateway/key.pem")
    logs.sh("systemctl disable --now logstack-vmalert")
    text = fleet.deploy()
    assert "change file /etc/logstack/otelcol/config.yaml" in text
    assert "change file /etc/logstack/gateway/key.pem" in text
    assert "start service logstack-vmalert" in text
    kept = "/etc/logstack/.previous/gateway/config/key.pem"
    assert logs.sh(f"stat -c %a {kept}").strip() == "600"
    assert "0 changes on 3 hosts" in fleet.deploy()


def test_a_bad_configuration_is_refused(fleet: FleetUnderTest) -> None:
    """The program's own checker says why; the old configuration runs on, and nothing restarts."""
    before = fleet.pids()
    file = fleet.hosts["logs-1"].sh("cat /etc/logstack/alertmanager/alertmanager.yml")
    fleet.values = {
        **fleet.values,
        "alerts": {
            "mute_times": [
                {"name": "night", "severities": ["ticket"], "times": ["22:00-24:00"]},
                {"name": "night", "severities": ["info"], "times": ["22:00-24:00"]},
            ]
        },
    }  # fmt: skip
    result = fleet.run("hosts", "deploy", "staging")
    assert result.returncode == 1
    assert '"night" is not unique' in result.stderr
    assert "configuration check failed; the previous configuration is still active" in result.stderr
    assert "Skipped after the failure: app-1, app-2" in result.stderr
    assert fleet.hosts["logs-1"].sh("cat /etc/logstack/alertmanager/alertmanager.yml") == file
    assert fleet.pids() == before


def test_what_does_not_become_healthy_is_rolled_back(fleet: FleetUnderTest) -> None:
    """A port that another program has: the run stops with the journal, the old version runs."""
    host = fleet.hosts["app-1"]
    before = host.sh("cat /etc/logstack/otelcol/config.yaml")
    fleet.values = {
        **fleet.values,
        "ports": {"otelcol_metrics": 18999},
        "timing": {"start_timeout": "5s"},
    }
    with host.listener(18999):
        result = fleet.run("hosts", "deploy", "staging")
    assert result.returncode == 1
    assert "app-1: otelcol: not healthy within 5 s" in result.stderr
    assert "address already in use" in result.stderr
    assert "otelcol rolled back and healthy" in result.stderr
    assert host.sh("cat /etc/logstack/otelcol/config.yaml") == before
    assert host.sh("systemctl is-active logstack-otelcol").strip() == "active"


def test_preflight_names_everything_at_once(fleet: FleetUnderTest) -> None:
    """Two troubles of one host and one of all; nothing is changed on any of them."""
    before = fleet.pids()
    fleet.values = {
        **fleet.values,
        "ports": {"otelcol_health": 18133},
        "limits": {"free_disk": "900000GiB"},
    }
    with fleet.hosts["app-1"].listener(18133):
        result = fleet.run("hosts", "deploy", "staging")
    assert result.returncode == 1
    assert "ports: expected port 18133 free for otelcol" in result.stderr
    assert result.stderr.count("disk: expected") == 3
    assert fleet.pids() == before
    for name in ("app-1", "app-2"):
        assert "18133" not in fleet.hosts[name].sh("cat /etc/logstack/otelcol/config.yaml")


def test_a_host_that_does_not_answer_is_named(fleet: FleetUnderTest) -> None:
    """The others are deployed to; the run fails and says which one was not."""
    unreachable = fleet.hosts["app-2"]
    unreachable.sh("systemctl stop ssh.socket ssh")
    try:
        fleet.values = {**fleet.values, "agent": {"flush_interval": "400ms"}}
        result = fleet.run("hosts", "deploy", "staging")
    finally:
        unreachable.sh("systemctl start ssh")
    assert result.returncode == 1
    assert "app-2: cannot connect by SSH: " in result.stderr
    assert "4 changes on 2 hosts" in result.stdout
    assert "400ms" in fleet.hosts["app-1"].sh("cat /etc/logstack/otelcol/config.yaml")
    assert "400ms" not in unreachable.sh("cat /etc/logstack/otelcol/config.yaml")


def test_a_killed_service_comes_back(fleet: FleetUnderTest) -> None:
    """systemd starts it again by itself."""
    host = fleet.hosts["logs-1"]
    before = host.pid("vmalert")
    host.sh(f"kill -9 {before}")
    poll(lambda: host.pid("vmalert") not in ("0", before), "another process", timeout=20)
    assert "0 changes on 3 hosts" in fleet.deploy()


def test_rollback_returns_to_what_ran_before(fleet: FleetUnderTest) -> None:
    """Only what the last run changed; a second rollback goes forward again."""
    fleet.values = {**fleet.values, "agent": {"flush_interval": "500ms"}}
    fleet.deploy()
    before = fleet.pids()
    for expected in (0, 1):
        result = fleet.run("hosts", "rollback", "staging")
        assert result.returncode == 0, result.stdout + result.stderr
        assert result.stdout.count("otelcol rolled back and healthy") == len(fleet.hosts)
        text = fleet.hosts["app-1"].sh("cat /etc/logstack/otelcol/config.yaml")
        assert text.count("500ms") == expected
    after = fleet.pids()
    restarted = {name for name in before if before[name] != after[name]}
    assert restarted == {f"{host}/logstack-otelcol.service" for host in fleet.hosts}


def test_rollback_returns_to_files_of_the_host(fleet: FleetUnderTest) -> None:
    """journald has its old limit again."""
    fleet.values = {
        **fleet.values,
        "app_hosts": {**fleet.values["app_hosts"], "journal_limit": "2GiB"},
    }
    assert "change file /etc/systemd/journald.conf.d/logstack.conf" in fleet.deploy()
    result = fleet.run("hosts", "rollback", "staging")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "app-1: restored /etc/systemd/journald.conf.d/logstack.conf" in result.stdout
    text = fleet.hosts["app-1"].sh("cat /etc/systemd/journald.conf.d/logstack.conf")
    assert "SystemMaxUse=1073741824" in text


def test_two_deploys_at_once_refuse(fleet: FleetUnderTest) -> None:
    """The second says who is at work; the lock of one that was killed can be taken."""
    before = fleet.pids()
    fleet.values = {**fleet.values, "agent": {"flush_interval": "600ms"}}
    held = {"run": "another", "who": "alice@desk", "since": 0}
    fleet.hosts["app-2"].sh(f"echo {shlex.quote(json.dumps(held))} > /run/logstack-deploy.json")
    result = fleet.run("hosts", "deploy", "staging")
    assert result.returncode == 1
    assert "app-2: cannot deploy: the lock is held by alice@desk" in result.stderr
    assert "./logstack hosts unlock staging" in result.stderr
    assert fleet.pids() == before
    result = fleet.run("hosts", "unlock", "staging")
    assert "app-2: released the lock of alice@desk" in result.stdout
    assert "logs-1: not locked" in result.stdout
    assert f"{2 * len(fleet.hosts)} changes on" in fleet.deploy()


def test_of_deploys_at_once_one_goes_on(fleet: FleetUnderTest) -> None:
    """Whoever has the first host's lock; the others are refused and have changed nothing."""
    fleet.values = {**fleet.values, "limits": {"query": "7m"}}
    argv, environ = [str(ROOT / "logstack"), "hosts", "deploy", "staging"], fleet.environ
    runs = [
        subprocess.Popen(argv, env=environ, stdout=-1, stderr=subprocess.STDOUT, text=True)
        for _ in range(3)
    ]
    texts = [run.communicate(timeout=120)[0] for run in runs]
    refused = [text for run, text in zip(runs, texts, strict=True) if run.returncode]
    assert 0 < len(refused) < len(runs), texts
    for text in refused:
        assert "cannot deploy: the lock is held by" in text
        assert "changes on" not in text
    assert "0 changes on 3 hosts" in fleet.deploy()


def test_a_rollback_that_leaves_a_service_unhealthy_fails_and_stops(fleet: FleetUnderTest) -> None:
    """What ran before does not run any more: the command says so and leaves the other hosts."""
    port = {"ports": {"otelcol_health": 18133}, "timing": {"start_timeout": "5s"}}
    before = fleet.values
    fleet.values = {**before, **port}
    fleet.deploy()
    fleet.values = {**before, "timing": {"start_timeout": "5s"}}
    fleet.deploy()
    with fleet.hosts["logs-1"].listener(18133):
        result = fleet.run("hosts", "rollback", "staging")
    assert result.returncode == 1, result.stdout
    assert "logs-1: otelcol rolled back but not healthy" in result.stderr
    assert "journalctl -u logstack-otelcol" in result.stderr
    assert "Skipped after the failure: app-1, app-2" in result.stderr
    for name in ("app-1", "app-2"):
        assert "18133" not in fleet.hosts[name].sh("cat /etc/logstack/otelcol/config.yaml")
