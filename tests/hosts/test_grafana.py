"""Grafana on a log server, where its release is on PATH."""

from __future__ import annotations

import json

import pytest

from stack import artifacts, settings
from stack.hosts import programs
from tests.hosts.harness import FleetUnderTest
from tests.require import unavailable

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


def test_without_a_release_nothing_is_deployed(fleet: FleetUnderTest) -> None:
    """Where Grafana is asked for and this machine has none, the run says what to do."""
    fleet.values = {**fleet.values, "stack": {"grafana": "on"}, "versions": {"grafana": "99.9.9"}}
    fleet.prepare()
    result = fleet.run("hosts", "plan", "staging")
    assert result.returncode == 1
    assert "grafana 99.9.9: wanted the program `grafana` of this version on PATH" in result.stderr


def test_dashboards_behind_the_gateway(fleet: FleetUnderTest) -> None:
    """Provisioned like any other Grafana, with a password of its own."""
    try:
        programs.obtain(settings.load({}), ["grafana"], lambda name, text: None)
    except artifacts.ArtifactError as error:
        unavailable("grafana", str(error))
    fleet.values = {**fleet.values, "stack": {"grafana": "on"}, "timing": {"start_timeout": "120s"}}
    fleet.prepare()
    fleet.deploy()
    host = fleet.hosts["logs-1"]
    secrets = json.loads((fleet.folder / "secrets.json").read_text(encoding="utf-8"))
    url = f"https://{host.address}/grafana/api"
    who = ("admin", secrets["grafana_admin"])
    found = json.loads(fleet.hosts["app-1"].python(ASK, f"{url}/search?type=dash-db", CA, *who))
    assert len(found) >= 7
    sources = json.loads(fleet.hosts["app-1"].python(ASK, f"{url}/datasources", CA, *who))
    assert {source["name"] for source in sources} == {"VictoriaLogs", "Alertmanager"}
