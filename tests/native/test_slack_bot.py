"""Slack by the token of a bot: Alertmanager alone, and what arrives."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack import artifacts, settings
from stack.alerting.files import alert_files
from stack.alerting.send import send
from stack.alerting.throwaway import running
from stack.components.catalogue import by_name, command
from stack.runtimes.native import read_tail
from stack.settings.secrets import write_private
from tests.support.example import PORTS, target_in
from tests.support.message_formats import check_slack
from tests.support.ports import free_ports
from tests.support.sinks import http_sink

pytestmark = [pytest.mark.native, pytest.mark.own_stack]

TOKEN = "xoxb-1234567890-abcdefghij"


def test_a_bot_posts_to_its_channel(tmp_path: Path, binaries: None) -> None:
    """With the token as a header, the channel in the body, and the answer's words understood."""
    folders = artifacts.ensure_all(settings.load({}), lambda name, text: None)
    [port] = free_ports(1)
    write_private(tmp_path / "token", f"{TOKEN}\n")
    with http_sink() as http:
        target = target_in(
            tmp_path,
            ports={**PORTS, "alertmanager": port},
            receivers={
                "slack_token_file": str(tmp_path / "token"),
                "slack_channel": "C0123456789",
                "slack_api_url": f"{http.url}/api/chat.postMessage",
            },
        )
        for path, text in alert_files(target).items():
            write_private(target.run_dir / path, text)
        component = by_name("alertmanager")
        argv = command(
            component, target, {"alertmanager": str(folders["alertmanager"] / "alertmanager")}
        )
        with running(argv, target.url("alertmanager"), component.health, tmp_path / "process"):
            log = tmp_path / "process" / "output.log"
            result = send(target, "slack", lambda: read_tail(log, 10_000))
    assert result.delivered, log.read_text(encoding="utf-8")
    [request] = http.of("/api/chat.postMessage")
    check_slack(request.body)
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.body["channel"] == "C0123456789"
    assert result.mark in request.body["attachments"][0]["text"]
