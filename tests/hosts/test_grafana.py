"""Grafana on a log server, where its release is on PATH or can be fetched."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from stack import artifacts, settings
from stack.artifacts import host_programs as programs
from tests.support.host_containers import FleetUnderTest
from tests.support.require import unavailable

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

# Asks with a user's password over TLS; arguments: URL, CA file, user, password.
ASK = """
import base64, ssl, sys, urllib.request
url, ca, user, password = sys.argv[1:]
token = base64.b64encode(f"{user}:{password}".encode()).decode()
request = urllib.request.Request(url, headers={"Authorization": f"Basic {token}"})
context = ssl.create_default_context(cafile=ca)
print(urllib.request.urlopen(request, timeout=20, context=context).read().decode())
"""
CA = "/etc/logstack/otelcol/ca.pem"


def password_of(fleet: FleetUnderTest) -> str:
    text = (fleet.folder / "secrets.json").read_text(encoding="utf-8")
    return str(json.loads(text)["grafana_admin"])


def sets_passwords() -> bool:
    """Whether the release on PATH has the command; that of 9.3 says that it did and did not."""
    program = shutil.which("grafana")
    try:
        argv = [str(program), "cli", "admin", "reset-admin-password", "--help"]
        result = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return "--password-from-stdin" in result.stdout


def test_without_a_release_nothing_is_deployed(fleet: FleetUnderTest) -> None:
    """Where Grafana is asked for and this machine has none, the run says what to do."""
    fleet.values = {**fleet.values, "stack": {"grafana": "on"}, "versions": {"grafana": "99.9.9"}}
    fleet.prepare()
    result = fleet.run("hosts", "plan", "staging")
    assert result.returncode == 1
    assert "cannot fetch grafana 99.9.9: PATH has no program of this version" in result.stderr


def test_dashboards_behind_the_gateway(fleet: FleetUnderTest) -> None:
    """Provisioned like any other Grafana, with its own password."""
    try:
        programs.ensure(settings.load({}), ["grafana"], lambda name, text: None)
    except artifacts.ArtifactError as error:
        unavailable("grafana", str(error))
    fleet.values = {**fleet.values, "stack": {"grafana": "on"}, "timing": {"start_timeout": "120s"}}
    fleet.prepare()
    fleet.deploy()
    host = fleet.hosts["logs-1"]
    url = f"https://{host.address}/grafana/api"
    who = ("admin", password_of(fleet))
    found = json.loads(fleet.hosts["app-1"].python(ASK, f"{url}/search?type=dash-db", CA, *who))
    assert len(found) >= 7
    sources = json.loads(fleet.hosts["app-1"].python(ASK, f"{url}/datasources", CA, *who))
    assert {source["name"] for source in sources} == {"VictoriaLogs", "Alertmanager"}


def test_a_new_password_is_the_one_that_opens(fleet: FleetUnderTest) -> None:
    """In a Grafana that has its database already; neither is shown anywhere."""
    try:
        programs.ensure(settings.load({}), ["grafana"], lambda name, text: None)
    except artifacts.ArtifactError as error:
        unavailable("grafana", str(error))
    if not sets_passwords():
        unavailable("grafana", "the release on PATH has no command that sets a password")
    fleet.values = {**fleet.values, "stack": {"grafana": "on"}, "timing": {"start_timeout": "120s"}}
    fleet.prepare()
    fleet.ensure_deployed()
    host, app = fleet.hosts["logs-1"], fleet.hosts["app-1"]
    url = f"https://{host.address}/grafana/api/org"
    old = password_of(fleet)
    app.python(ASK, url, CA, "admin", old)
    assert fleet.run("secrets", "rotate", "staging", "grafana_admin").returncode == 0
    new = password_of(fleet)
    assert new != old
    assert "restart service logstack-grafana" in fleet.deploy()
    app.python(ASK, url, CA, "admin", new)
    with pytest.raises(AssertionError, match="401"):
        app.python(ASK, url, CA, "admin", old)
    journal = host.sh("journalctl --no-pager -u logstack-grafana")
    assert journal.count("Admin password changed successfully") >= 1
    assert new not in journal
    assert host.sh("stat -c '%a %U' /var/lib/logstack/grafana/password.sha256").split() == [
        *("600", "logstack-grafana")
    ]
    said = journal.count("Admin password changed successfully")
    host.sh("systemctl restart logstack-grafana")
    journal = host.sh("journalctl --no-pager -u logstack-grafana")
    assert journal.count("Admin password changed successfully") == said
    result = fleet.run("hosts", "rollback", "staging")
    assert result.returncode == 0, result.stdout + result.stderr
    app.python(ASK, url, CA, "admin", old)
