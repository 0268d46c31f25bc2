"""What `logstack dashboards import` decides, and how it reads Grafana's answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from dashboards.grafana import as_json
from dashboards.grafana_api import Grafana, decide, judge, panel_queries
from dashboards.model import GrafanaError
from dashboards.pages import HTTP, OVERVIEW
from dashboards.run import TimeRange, context_for
from stack.queries.language import Scope
from tests.support.ports import free_ports

WANTED = as_json(OVERVIEW, "loki")
TIMES = TimeRange(datetime(2026, 1, 31, tzinfo=UTC), timedelta(hours=1))


def stored(**changes: Any) -> dict[str, Any]:
    """The dashboard as Grafana keeps it, changed."""
    return {"dashboard": {**WANTED, "id": 17, "version": 3, **changes}, "meta": {}}


def test_only_our_own_dashboards_are_updated() -> None:
    """Not one without our tag, nor one that is provisioned from a file."""
    assert decide(None, WANTED) == "created"
    assert decide(stored(), WANTED) == "unchanged"
    assert decide(stored(title="Old"), WANTED) == "updated"
    assert decide(stored(tags=["mine"]), WANTED).startswith("left alone")
    assert decide(stored(tags=None), WANTED).startswith("left alone")
    provisioned = {**stored(title="Old"), "meta": {"provisioned": True}}
    assert decide(provisioned, WANTED).startswith("left alone")


def test_a_failed_or_empty_query_is_a_problem() -> None:
    """Of a panel with several queries, one with data is enough."""
    frame = {"data": {"values": [[1, 2], [3.0, 4.0]]}}
    assert judge({"Q0": {"frames": [frame]}}) == ""
    assert judge({"Q0": {"frames": []}, "Q1": {"frames": [frame]}}) == ""
    assert judge({"Q0": {"frames": [{"data": {"values": []}}]}}) == "no data"
    assert judge({"Q0": {"frames": None}}) == "no data"
    assert judge({"Q0": {"error": "parse error"}}) == "failed: parse error"


def test_queries_have_values_in_place_of_variables() -> None:
    """Grafana's server does not replace them. Each query of a panel has its own name."""
    context = context_for(Scope("prod"), TIMES, "-")
    panel = next(panel for panel in HTTP.panels if len(panel.targets) == 3)
    queries = panel_queries(panel, context, "loki", "abc", TIMES)
    assert [query["refId"] for query in queries] == ["Q0", "Q1", "Q2"]
    assert all(query["datasource"] == {"type": "loki", "uid": "abc"} for query in queries)
    assert all("$" not in json.dumps(query) for query in queries)
    assert all(query["step"] == "30s" for query in queries)


class Refusing(BaseHTTPRequestHandler):
    """A web server that is not Grafana, or one that refuses the token."""

    def do_GET(self) -> None:
        self.send_response(401 if "secret" in self.path else 200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def no_grafana() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_wrong_address_or_token_is_explained(no_grafana: str) -> None:
    """Without the token in the message."""
    [port] = free_ports(1)
    token = "t0ken-of-a-test"
    for url, path, expected in (
        (f"http://127.0.0.1:{port}", "/api/folders", "Check --url"),
        (no_grafana, "/api/folders", "<html>"),
        (no_grafana, "/secret", "GRAFANA_TOKEN"),
    ):
        with pytest.raises(GrafanaError, match=expected) as caught:
            Grafana(url, token).get(path)
        assert token not in str(caught.value)
