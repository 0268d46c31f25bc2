"""pyinfra's own command on our files, as its documentation describes it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stack.runtimes.docker.engine import run
from stack.settings import ROOT
from tests.support.host_containers import FleetUnderTest
from tests.support.native_stack import poll

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

PYINFRA = str(Path(sys.executable).with_name("pyinfra"))
STAGING = str(ROOT / "provisioning" / "inventories" / "staging.py")
DEPLOY = str(ROOT / "provisioning" / "deploy.py")
CONFIG = "/etc/logstack/otelcol/config.yaml"


def pyinfra(fleet: FleetUnderTest, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it from a folder that is not the checkout."""
    fleet.deployed = ""
    result = subprocess.run(
        [PYINFRA, *arguments],
        cwd=fleet.folder, env=fleet.environ, capture_output=True, text=True, timeout=280,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr + fleet.journals()
    return result


def totals(text: str) -> list[str]:
    """Hosts, successes, errors and operations without a change, as pyinfra counts them."""
    (row,) = re.findall(r"Grand total +(.*)", text)
    return list(row.split())


def test_the_inventory_has_the_hosts_of_the_settings(fleet: FleetUnderTest) -> None:
    result = pyinfra(fleet, "-y", STAGING, "exec", "--", "hostname")
    for name in fleet.hosts:
        assert f"[{name}]" in result.stderr + result.stdout


def test_a_dry_run_shows_what_the_run_changes(fleet: FleetUnderTest) -> None:
    """Line by line; after the run nothing is left, by pyinfra's own count."""
    fleet.values = {**fleet.values, "agent": {"flush_interval": "350ms"}}
    dry = pyinfra(fleet, STAGING, DEPLOY, "--dry")
    assert f"  change file {CONFIG}" in dry.stdout.splitlines()
    done = pyinfra(fleet, STAGING, DEPLOY, "-y")
    assert done.stdout.splitlines()[:-1] == dry.stdout.splitlines()
    again = pyinfra(fleet, STAGING, DEPLOY, "-y")
    operations, success, errors, unchanged = totals(again.stderr)
    assert (success, errors, unchanged) == ("-", "-", operations)
    for host in fleet.hosts.values():
        assert host.sh("ls -A /run/logstack-agent 2>/dev/null || true") == ""


def test_differences_are_shown_without_secrets(fleet: FleetUnderTest) -> None:
    fleet.values = {**fleet.values, "agent": {"flush_interval": "450ms"}}
    fleet.hosts["app-1"].sh("echo old > /etc/logstack/otelcol/authorization")
    fleet.hosts["app-2"].sh(f"chmod 0666 {CONFIG}; touch /etc/logstack/otelcol/extra")
    text = pyinfra(fleet, STAGING, DEPLOY, "--dry", "--diff").stdout
    assert re.search(r"^\+.*450ms", text, re.MULTILINE)
    assert "app-1: /etc/logstack/otelcol/authorization: secret, not shown" in text
    assert f"app-2: {CONFIG}: mode 0666 -> 0" in text
    assert "app-2: file /etc/logstack/otelcol/extra: removed" in text
    known = json.loads((fleet.folder / "secrets.json").read_text(encoding="utf-8"))
    assert not any(value in text for value in known.values())
    done = pyinfra(fleet, STAGING, DEPLOY, "-y", "--diff").stdout
    assert set(text.splitlines()) <= set(done.splitlines())


def test_a_limit_leaves_the_other_hosts_alone(fleet: FleetUnderTest) -> None:
    before = fleet.pids()
    fleet.values = {**fleet.values, "agent": {"flush_interval": "550ms"}}
    result = pyinfra(fleet, STAGING, DEPLOY, "-y", "--limit", "app_hosts", "--exclude", "app-2")
    assert "2 changes on 1 host in" in result.stdout
    changed = {name for name, pid in fleet.pids().items() if before[name] != pid}
    assert changed == {"app-1/logstack-otelcol.service"}


@pytest.mark.parametrize("flag", ["--serial", "--no-wait"])
def test_a_failure_on_the_log_server_ends_the_run(fleet: FleetUnderTest, flag: str) -> None:
    """Whatever the order in which pyinfra would take the hosts."""
    fleet.values = {
        **fleet.values, "ports": {"otelcol_metrics": 18999}, "timing": {"start_timeout": "5s"},
    }  # fmt: skip
    before = fleet.pids()
    with fleet.hosts["logs-1"].listener(18999):
        result = fleet.run("hosts", "deploy", "staging", flag)
    assert result.returncode == 1
    assert "logs-1: otelcol: not healthy within 5 s" in result.stderr
    assert "Skipped after the failure: app-1, app-2" in result.stderr
    assert "Traceback" not in result.stderr
    after = fleet.pids()
    assert all(before[name] == after[name] for name in before if name.startswith("app-"))


def test_data_are_settings(fleet: FleetUnderTest) -> None:
    name = "LOGSTACK_AGENT__FLUSH_INTERVAL"
    text = pyinfra(fleet, STAGING, DEPLOY, "--dry", "--diff", "--data", f"{name}=650ms").stdout
    assert re.search(r"^\+.*650ms", text, re.MULTILINE)


INCLUDED = f"from pyinfra import local\nlocal.include({DEPLOY!r})\n"
IMPORTED = (
    "from provisioning.deploys import app_hosts, log_servers, start\n"
    "start()\nlog_servers()\napp_hosts()\n"
)


@pytest.mark.parametrize(("ours", "interval"), [(INCLUDED, "750ms"), (IMPORTED, "760ms")])
def test_a_team_includes_the_stack_in_its_own_deploy(
    fleet: FleetUnderTest, ours: str, interval: str
) -> None:
    """Their inventory, their group data, an operation of theirs; one host after the other."""
    folder = fleet.folder / f"team {interval}"
    (folder / "group_data").mkdir(parents=True)
    login = {"ssh_user": "deploy", "ssh_key": str(fleet.key)}
    lines = []
    for group, start in (("log_servers", "logs"), ("app_hosts", "app")):
        hosts = {n: h.address for n, h in fleet.hosts.items() if n.startswith(start)}
        members = [(name, {"ssh_hostname": address, **login}) for name, address in hosts.items()]
        lines.append(f"{group} = {members!r}\n")
    (folder / "inventory.py").write_text("".join(lines), encoding="utf-8")
    (folder / "group_data" / "all.py").write_text(
        f'logstack_environment = "staging"\nLOGSTACK_AGENT__FLUSH_INTERVAL = "{interval}"\n',
        "utf-8",
    )
    (folder / "site.py").write_text(
        f"from pyinfra.operations import files\nfiles.file(name='Ours', path='/tmp/ours')\n{ours}",
        encoding="utf-8",
    )
    inventory = str(folder / "inventory.py")
    pyinfra(fleet, inventory, str(folder / "site.py"), "-y", "--serial")
    for host in fleet.hosts.values():
        assert interval in host.sh(f"cat {CONFIG}")
        host.sh("rm /tmp/ours")
    made = folder / "secrets.json"
    fleet.variables = {"LOGSTACK_SECRETS": str(made)}
    try:
        script = str(ROOT / "provisioning" / "make_secrets.py")
        pyinfra(fleet, inventory, script, "-y", "--dry")
        assert not made.exists()
        result = pyinfra(fleet, inventory, script, "-y")
    finally:
        fleet.variables = {}
    known = json.loads(made.read_text(encoding="utf-8"))
    assert {"writer_app-1", "writer_app-2", "certificate_logs-1"} <= known.keys()
    assert made.stat().st_mode & 0o777 == 0o600
    assert not any(value in result.stdout + result.stderr for value in known.values())


def test_a_dry_rollback_shows_what_it_would_undo(fleet: FleetUnderTest) -> None:
    """By either command; nothing is undone, and the deploy file asks where it may."""
    fleet.values = {**fleet.values, "agent": {"flush_interval": "810ms"}}
    fleet.deploy()
    rollback = str(ROOT / "provisioning" / "rollback.py")
    expected = [
        line for name in fleet.hosts for line in (f"{name}: 1 change", "  roll back otelcol")
    ]
    assert pyinfra(fleet, STAGING, rollback, "--dry").stdout.splitlines() == expected
    result = fleet.run("hosts", "rollback", "staging", "--dry")
    assert (result.returncode, result.stdout.splitlines()) == (0, expected), result.stderr
    assert "810ms" in fleet.hosts["app-1"].sh(f"cat {CONFIG}")


def test_without_its_log_server_nothing_is_changed(fleet: FleetUnderTest) -> None:
    """Application hosts would send to a gateway that does not know what they were given."""
    before = fleet.pids()
    fleet.values = {**fleet.values, "agent": {"flush_interval": "820ms"}}
    host = fleet.hosts["logs-1"]
    host.sh("mv /etc/sudoers.d/deploy /etc/sudoers.deploy")
    try:
        results = [fleet.run("hosts", name, "staging") for name in ("plan", "deploy", "rollback")]
    finally:
        host.sh("mv /etc/sudoers.deploy /etc/sudoers.d/deploy")
    for result, verb in zip(results, ("changed", "changed", "rolled back"), strict=True):
        assert result.returncode == 1
        assert f"Nothing was {verb} on any host, because log servers come first" in result.stderr
        assert "Traceback" not in result.stdout + result.stderr
    assert fleet.pids() == before


def test_a_rollback_undoes_a_killed_deploy_and_its_continuation(fleet: FleetUnderTest) -> None:
    """They are one deploy, also where the first part had changed hosts already."""
    fleet.values = {**fleet.values, "agent": {"flush_interval": "830ms"}}
    fleet.deployed = ""
    process = subprocess.Popen(
        [PYINFRA, STAGING, DEPLOY, "-y"], cwd=fleet.folder, env=fleet.environ, stdout=-3, stderr=-3
    )
    changed = f"grep -l 830ms {CONFIG} || true"
    try:
        poll(lambda: fleet.hosts["logs-1"].sh(changed), "the log server changed", timeout=60)
    finally:
        process.kill()
        process.wait()
    fleet.deploy()
    result = fleet.run("hosts", "rollback", "staging")
    assert result.returncode == 0, result.stdout + result.stderr
    for host in fleet.hosts.values():
        assert host.sh(changed) == ""


# What is there at each step of a run. Staged files are there for an instant: the host stops the
# agent that has written them.
STEPS = {
    "before the lock": "ls -d /run/logstack-agent/*",
    "under the lock": "cat /run/logstack-deploy.json",
    "staged": "cat /tmp/staged",
    "swapped": f"grep 850ms {CONFIG}",
}
STOP_STAGING = (
    "systemd-run --quiet --unit=stop-staging bash -c "
    "'while [ ! -d /etc/logstack/.staged/otelcol ]; do :; done; "
    "pkill -STOP -f [a]gent.pyz; echo yes > /tmp/staged'"
)


@pytest.mark.parametrize("step", STEPS)
def test_the_next_run_completes_one_that_was_killed(fleet: FleetUnderTest, step: str) -> None:
    """kill -9 of the control process; the lock of a process that has ended is taken over."""
    fleet.values = {**fleet.values, "agent": {"flush_interval": "850ms"}}
    host = fleet.hosts["app-1"]
    host.sh("rm -rf /etc/logstack/.staged/otelcol /tmp/staged")
    if step == "staged":
        host.sh(STOP_STAGING)
    fleet.deployed = ""
    process = subprocess.Popen(
        [PYINFRA, STAGING, DEPLOY, "-y"], cwd=fleet.folder, env=fleet.environ, stdout=-3, stderr=-3
    )
    try:
        poll(lambda: host.sh(f"{STEPS[step]} 2>/dev/null || true"), step, timeout=60)
    finally:
        process.kill()
        process.wait()
        host.sh("pkill -CONT -f agent.pyz || true")
    fleet.deploy()
    assert "0 changes on 3 hosts" in fleet.deploy()
    for each in fleet.hosts.values():
        assert "850ms" in each.sh(f"cat {CONFIG}")
        assert each.sh("systemctl is-active logstack-otelcol").strip() == "active"


def test_sudo_may_ask_for_a_password(fleet: FleetUnderTest) -> None:
    """One sentence where nobody can be asked for it; the variable is used and never printed."""
    host, password = fleet.hosts["app-1"], "open-sesame-1"
    host.sh(f"echo deploy:{password} | chpasswd")
    host.sh("mv /etc/sudoers.d/deploy /etc/sudoers.deploy")
    host.sh("echo 'deploy ALL=(ALL) ALL' > /etc/sudoers.d/asks")
    try:
        refused = fleet.run("hosts", "plan", "staging")
        assert refused.returncode == 1
        assert "app-1: cannot run commands as root: sudo asks the deploy user" in refused.stderr
        assert "Traceback" not in refused.stderr
        fleet.variables = {"LOGSTACK_SECRET_SUDO_PASSWORD": password}
        fleet.values = {**fleet.values, "agent": {"flush_interval": "950ms"}}
        result = pyinfra(fleet, STAGING, DEPLOY, "-y", "-vvv")
        assert "app-1: 2 changes" in result.stdout
        assert password not in result.stdout + result.stderr
    finally:
        fleet.variables = {}
        host.sh("mv /etc/sudoers.deploy /etc/sudoers.d/deploy")
        host.sh("rm /etc/sudoers.d/asks; passwd --lock deploy")


def test_a_host_that_hangs_is_named(fleet: FleetUnderTest) -> None:
    """The others are deployed to."""
    name = fleet.hosts["app-2"].container
    fleet.values = {**fleet.values, "agent": {"flush_interval": "960ms"}}
    assert run("pause", name).returncode == 0
    try:
        result = fleet.run("hosts", "deploy", "staging")
    finally:
        run("unpause", name)
    assert result.returncode == 1
    assert "app-2: cannot connect by SSH" in result.stderr
    assert "4 changes on 2 hosts" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
