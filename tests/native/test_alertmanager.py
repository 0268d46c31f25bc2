"""Alertmanager alone: what its release fixed, and the pages that it is built with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from stack import artifacts, settings
from stack.alerting.files import alert_files
from stack.alerting.send import post_alert
from stack.alerting.throwaway import running
from stack.components.catalogue import by_name, command
from stack.settings.secrets import write_private
from stack.settings.targets import Target
from tests.support.example import PORTS, target_in
from tests.support.native_stack import poll
from tests.support.ports import free_ports
from tests.support.sinks import HttpSink, http_sink

pytestmark = [pytest.mark.native, pytest.mark.own_stack]
SLACK = "slack"
GROUP_INTERVAL = 300  # seconds, of the settings: a retry in the next flush comes after it


@pytest.fixture
def http() -> Iterator[HttpSink]:
    with http_sink() as sink:
        yield sink


@pytest.fixture
def alertmanager(tmp_path: Path, binaries: None, http: HttpSink) -> Iterator[Target]:
    """A running one with the intervals of the settings, whose Slack is `http`."""
    folders = artifacts.ensure_all(settings.load({}), lambda name, text: None)
    [port] = free_ports(1)
    write_private(tmp_path / "webhook", f"{http.url}/services/T0/B0/x\n")
    target = target_in(
        tmp_path,
        ports={**PORTS, "alertmanager": port},
        receivers={
            "slack_webhook_file": str(tmp_path / "webhook"),
            "slack_hosts": ["127.0.0.1"],
        },
    )
    for path, text in alert_files(target).items():
        write_private(target.run_dir / path, text)
    component = by_name("alertmanager")
    program = str(folders["alertmanager"] / "alertmanager")
    argv = command(component, target, {"alertmanager": program})
    with running(argv, target.url("alertmanager"), component.health, tmp_path / "process"):
        yield target


def test_a_message_after_429_is_sent_again_at_once(alertmanager: Target, http: HttpSink) -> None:
    """Up to 0.34 a 429 was final for the flush: an alert that ended meanwhile was never sent."""
    http.failing["/services/"] = [429]
    mark = "test-of-429"
    post_alert(alertmanager.url("alertmanager"), alertmanager, SLACK, mark)
    poll(
        lambda: any(mark in str(request.body) for request in http.of("/services/")),
        lambda: f"{[request.status for request in http.requests]}",
        timeout=GROUP_INTERVAL / 5,
    )
    assert [request.status for request in http.requests] == [429, 200]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/script.js", "text/javascript"),
        ("/favicon.ico", "image/"),
        ("/lib/bootstrap-4.6.2-dist/css/bootstrap.min.css", "text/css"),
    ],
)
def test_its_pages_are_there(alertmanager: Target, path: str, kind: str) -> None:
    """The module of this version has none: they are those of an older one."""
    answer = requests.get(alertmanager.url("alertmanager", path), timeout=10)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(kind)
    assert len(answer.content) > 1000


def test_no_page_of_another_origin_may_read(alertmanager: Target) -> None:
    """Since 0.34.2; until then a module had to be replaced for it."""
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for path in ("/api/v2/alerts", "/api/v2/silences", "/api/status.v3.StatusService/GetStatus"):
        url = alertmanager.url("alertmanager", path)
        for answer in (
            requests.options(url, headers=headers, timeout=10),
            requests.get(url, headers=headers, timeout=10),
        ):
            assert "Access-Control-Allow-Origin" not in answer.headers
