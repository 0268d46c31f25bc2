"""One log server with Loki as its engine, where `loki` is on PATH."""

from __future__ import annotations

import json
import uuid
from urllib.parse import urlencode

import pytest

from stack import artifacts, settings
from stack.artifacts import host_programs as programs
from stack.engines.facts import LOKI_TENANT
from tests.support.host_containers import FleetUnderTest
from tests.support.native_stack import poll
from tests.support.require import unavailable

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


def test_loki_on_a_host(fleet: FleetUnderTest) -> None:
    """Deployed in place of the other engine; its policies are read back, records come in order."""
    try:
        programs.ensure(settings.load({}), ["loki"], lambda name, text: None)
    except artifacts.ArtifactError as error:
        unavailable("loki", str(error))
    fleet.values = {**fleet.values, "stack": {"engine": "loki"}, "timing": {"start_timeout": "60s"}}
    text = fleet.deploy()
    assert "remove service logstack-victorialogs" in text
    assert "start service logstack-loki" in text
    result = fleet.run("hosts", "verify", "staging")
    assert result.returncode == 0, result.stdout + result.stderr + fleet.journals()
    assert result.stdout.count("canary record was read back parsed") == 2
    for found in (
        "records are kept 44 days",
        "shipped rules are loaded",
        "archive: checks passed: hot retention",
    ):
        assert found in result.stdout
    assert "0 changes on 3 hosts" in fleet.deploy()
    mark = uuid.uuid4().hex
    fleet.hosts["logs-1"].sh(f"logger -t door {mark}")
    poll(lambda: lines(fleet, f'{{host="logs-1"}} |= `{mark}`'), fleet.journals, timeout=60)


def lines(fleet: FleetUnderTest, query: str) -> list[str]:
    """What the log server's Loki has."""
    port = settings.load({}).ports.effective("loki")
    url = f"http://127.0.0.1:{port}/loki/api/v1/query_range?{urlencode({'query': query})}"
    text = fleet.hosts["logs-1"].get(url, headers={"X-Scope-OrgID": LOKI_TENANT})
    streams = json.loads(text)["data"]["result"]
    return [line for stream in streams for _, line in stream["values"]]
