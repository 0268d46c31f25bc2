"""Grafana in the Docker runtime: what it is provisioned with, and how things go without it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from dashboards.pages import PAGES
from stack.components.grafana_links import uid
from stack.runtimes.docker.engine import DockerError
from stack.settings import Settings, variable_name
from stack.settings.secrets import GRAFANA_PASSWORD
from tests.docker.conftest import quiet
from tests.support.docker_stack import DockerStackUnderTest
from tests.support.native_stack import Combination, poll
from tests.support.require import unavailable

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, local_images: Settings
) -> Iterator[DockerStackUnderTest]:
    """Loki, Grafana and the traffic that comes by itself."""
    choice = {
        **Combination("loki", "otelcol").variables,
        variable_name("stack", "grafana"): "on",
        variable_name("sample_app", "traffic"): "20",
    }
    under_test = DockerStackUnderTest(tmp_path_factory.mktemp("docker grafana"), choice)
    try:
        under_test.runtime.pull(under_test.runtime.missing_images(), quiet)
    except DockerError as error:
        unavailable("docker-grafana", str(error))
    under_test.up()
    yield under_test
    result = under_test.run("clean", "--yes")
    assert result.returncode == 0, result.stderr


def ask(stack: DockerStackUnderTest, path: str, body: object = None) -> requests.Response:
    """Grafana's answer to its administrator."""
    return requests.request(
        "GET" if body is None else "POST",
        stack.target.url("grafana", path),
        json=body,
        auth=("admin", stack.runtime.secrets()[GRAFANA_PASSWORD]),
        timeout=30,
    )


def test_dashboards_and_data_sources_are_there(stack: DockerStackUnderTest) -> None:
    """From the files that the runtime writes, under their fixed uids."""
    expected = {uid(page.name, "loki") for page in PAGES}
    poll(
        lambda: expected <= {item["uid"] for item in ask(stack, "/api/search?type=dash-db").json()},
        lambda: f"expected {expected}, got {ask(stack, '/api/search').text}\n{stack.logs()}",
    )
    sources = {item["uid"] for item in ask(stack, "/api/datasources").json()}
    assert sources == {"loki", "loki-restored", "alertmanager"}


def test_traffic_of_its_own_shows_in_a_panel(stack: DockerStackUnderTest) -> None:
    """From the app's container through the agent and Loki into Grafana."""
    query = {
        "refId": "A",
        "datasource": {"type": "loki", "uid": "loki"},
        "expr": 'sum(count_over_time({environment="dev"} | event_type="request_finished" [10m]))',
        "queryType": "instant",
    }

    def shown() -> bool:
        answer = ask(stack, "/api/ds/query", {"queries": [query], "from": "now-10m", "to": "now"})
        frames = answer.json()["results"]["A"].get("frames", [])
        values = [frame["data"]["values"] for frame in frames]
        return any(columns and columns[-1][0] > 100 for columns in values)

    poll(shown, lambda: f"100 requests\n{stack.logs()}", timeout=90)


def test_only_the_administrator_gets_in(stack: DockerStackUnderTest) -> None:
    """With the generated password, which a second start does not change."""
    url = stack.target.url("grafana", "/api/datasources")
    for credentials in (None, ("admin", "admin")):
        answer = requests.get(url, auth=credentials, timeout=10)
        assert answer.status_code == requests.codes.unauthorized
    result = stack.run("up")
    assert result.returncode == 0, result.stderr
    assert GRAFANA_PASSWORD in result.stdout
    assert stack.runtime.secrets()[GRAFANA_PASSWORD] not in result.stdout + result.stderr
    assert ask(stack, "/api/datasources").ok


def test_without_its_image_everything_else_starts(tmp_path: Path, local_images: Settings) -> None:
    """Said clearly, and remembered: status does not miss what was left out."""
    stack = DockerStackUnderTest(tmp_path)
    stack.variables[variable_name("stack", "grafana")] = "auto"
    stack.variables[variable_name("images", "grafana")] = "localhost:9/none:{version}"
    try:
        result = stack.run("up")
        assert result.returncode == 0, result.stderr
        assert "Without Grafana: cannot pull localhost:9/none:" in result.stderr
        assert "./logstack report" in result.stderr
        states = {
            item["name"]: item["state"] for item in json.loads(stack.run("status", "--json").stdout)
        }
        assert "grafana" not in states
        assert set(states.values()) == {"healthy"}
        stack.variables[variable_name("stack", "grafana")] = "on"
        demanded = stack.run("up")
        assert demanded.returncode == 1
        assert "cannot pull " in demanded.stderr
    finally:
        stack.runtime.clean()
