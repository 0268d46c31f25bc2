"""What the import decides and how it reads Grafana's answers."""

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
from dashboards.run import TimeRange, ask_for
from stack.queries.language import Scope
from tests.support.ports import free_ports

WANTED = as_json(OVERVIEW, "loki")
TIMES = TimeRange(datetime(2026, 1, 31, tzinfo=UTC), timedelta(hours=1))


def stored(**changes: Any) -> dict[str, Any]:
    """The dashboard as Grafana keeps it, changed."""
    return {"dashboard": {**WANTED, "id": 17, "version": 3, **changes}, "meta": {}}


def test_what_is_there_decides_what_is_done() -> None:
    """Made, left, changed; and never touched when it is not ours or comes from a file."""
    assert decide(None, WANTED) == "created"
    assert decide(stored(), WANTED) == "unchanged"
    assert decide(stored(title="Old"), WANTED) == "updated"
    assert decide(stored(tags=["mine"]), WANTED).startswith("left alone")
    assert decide(stored(tags=None), WANTED).startswith("left alone")
    provisioned = {**stored(title="Old"), "meta": {"provisioned": True}}
    assert decide(provisioned, WANTED).startswith("left alone")


def test_answers_of_panels_are_judged() -> None:
    """An error with its words, no rows, or nothing to say."""
    frame = {"data": {"values": [[1, 2], [3.0, 4.0]]}}
    assert judge({"Q0": {"frames": [frame]}}) == ""
    assert judge({"Q0": {"frames": []}, "Q1": {"frames": [frame]}}) == ""
    assert judge({"Q0": {"frames": [{"data": {"values": []}}]}}) == "empty"
    assert judge({"Q0": {"frames": None}}) == "empty"
    assert judge({"Q0": {"error": "parse error"}}) == "failed: parse error"


def test_panels_are_asked_with_values_in_place_of_variables() -> None:
    """Grafana's server knows no variables; each query of a panel has a name of its own."""
    ask = ask_for(Scope("prod"), TIMES, "-")
    panel = next(panel for panel in HTTP.panels if len(panel.targets) == 3)
    queries = panel_queries(panel, ask, "loki", "abc", TIMES)
    assert [query["refId"] for query in queries] == ["Q0", "Q1", "Q2"]
    assert all(query["datasource"] == {"type": "loki", "uid": "abc"} for query in queries)
    assert all("$" not in json.dumps(query) for query in queries)
    assert all(query["step"] == "30s" for query in queries)


class Refusing(BaseHTTPRequestHandler):
    """A web server that is no Grafana, or one that knows no such token."""

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
    """What was wanted and found, and never the token."""
    [port] = free_ports(1)
    token = "t0ken-of-nobody"
    for url, path, wanted in (
        (f"http://127.0.0.1:{port}", "/api/folders", "Is --url right"),
        (no_grafana, "/api/folders", "<html>"),
        (no_grafana, "/secret", "GRAFANA_TOKEN"),
    ):
        with pytest.raises(GrafanaError, match=wanted) as caught:
            Grafana(url, token).get(path)
        assert token not in str(caught.value)
