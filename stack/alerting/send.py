"""Sends one marked test message through Alertmanager, its template and its channel.

Alertmanager does not report a channel's response. Its counters tell whether the message was
accepted, and its log why not.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from stack.alerting import AlertError
from stack.alerting.alertmanager import TEST_LABEL
from stack.alerting.channels import settings_of
from stack.alerting.expressions import runbook_link
from stack.alerting.http import ask
from stack.settings.targets import Target

ReadLog = Callable[[], str]
WAIT = 30.0  # seconds for a channel to respond


@dataclass(frozen=True)
class SendResult:
    """`mark` is part of the message. `answer` describes the channel's response."""

    channel: str
    mark: str
    delivered: bool
    answer: str


@dataclass(frozen=True)
class Counters:
    """Alertmanager's requests to one channel, and how many of them failed."""

    requests: float
    failed: float


def send(target: Target, channel: str, read_log: ReadLog, *, wait: float = WAIT) -> SendResult:
    """Send a marked message and wait for the channel's response. Raises AlertError.

    `read_log` returns the end of Alertmanager's log.
    """
    url = target.url("alertmanager")
    check_configured(url, channel)
    known = read_log()
    before = counters(url, channel)
    mark = f"test-{uuid.uuid4()}"
    began = time.monotonic()
    post_alert(url, target, channel, mark)
    was_accepted = False
    while time.monotonic() - began < wait:
        now = counters(url, channel)
        failed = now.failed - before.failed
        # Twice: a failure is counted as a request a moment before it is counted as a failure.
        was_accepted, seemed = now.requests - before.requests > failed, was_accepted
        if was_accepted and seemed:
            seconds = time.monotonic() - began
            text = f"accepted after {seconds:.1f} s, says Alertmanager's counter"
            return SendResult(channel, mark, True, text)
        if failed and (reason := failure(printed_since(known, read_log()), channel)):
            return SendResult(channel, mark, False, reason)
        time.sleep(0.2)
    return SendResult(channel, mark, False, f"no response within {wait:g} s")


def check_configured(url: str, channel: str) -> None:
    """Raises AlertError unless the running Alertmanager has the channel."""
    text = ask("GET", f"{url}/api/v2/status", "Alertmanager").json()["config"]["original"]
    entry = re.search(rf"(?m)^- name: test-{channel}\n(.*)", text)
    if entry is None or entry[1].startswith("- name:"):
        raise AlertError(
            f"cannot send to {channel}: it is not set up (see docs/alerts.md). Set "
            f"{settings_of(channel)}. Run: make up"
        )


def counters(url: str, channel: str) -> Counters:
    """Alertmanager's counters of the receiver for test messages."""
    text = ask("GET", f"{url}/metrics", "Alertmanager").text

    def total(name: str) -> float:
        pattern = rf'(?m)^{name}{{[^}}]*receiver_name="test-{channel}"[^}}]*}} (\S+)$'
        return sum(map(float, re.findall(pattern, text)))

    return Counters(
        requests=total("alertmanager_notification_requests_total"),
        failed=total("alertmanager_notification_requests_failed_total"),
    )


def post_alert(url: str, target: Target, channel: str, mark: str) -> None:
    """Send the test alert to Alertmanager; it ends by itself after two minutes."""
    now = datetime.now(UTC)
    alert = {
        "labels": {
            "alertname": "TestMessage",
            "severity": "info",
            "environment": target.settings.stack.environment,
            "service_name": "logstack",
            TEST_LABEL: channel,
            "mark": mark,
        },
        "annotations": {
            "summary": f"This is a test of the channel {channel} ({mark})",
            "description": "Sent by `logstack alerts send`. Nothing is wrong.",
            "value": "1",
            "samples": "one\ntwo\nthree",
            "lines": target.url("victorialogs", "/select/vmui/"),
            "runbook": runbook_link("Watchdog", target),
        },
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(minutes=2)).isoformat(),
    }
    ask("POST", f"{url}/api/v2/alerts", "Alertmanager", json=[alert])


def printed_since(known: str, text: str) -> str:
    """The part of a log's end after `known`; lines contain times, so none occurs twice."""
    last = known.rstrip("\n").rpartition("\n")[2]
    return text.rpartition(f"{last}\n")[2] if last else text


def failure(log: str, channel: str) -> str:
    """Why the last message failed, from Alertmanager's log; "" if unknown."""
    for line in reversed(log.splitlines()):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        ours = isinstance(entry, dict) and f"test-{channel}" in str(entry)
        if ours and (text := entry.get("err")):
            return str(text)
    return ""
