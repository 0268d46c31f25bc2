"""Alerts that Alertmanager would forget: while a receiver is down, and over a restart."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.alerting import AlertingStack, alerting_stack
from tests.support.native_stack import ON_ENGINES, Combination, line, marker, poll, record

pytestmark = [pytest.mark.native, pytest.mark.own_stack, ON_ENGINES]
WINDOW_S = 15
VARIABLES = {
    "LOGSTACK_MONITOR__INTERVAL": "1s",
    "LOGSTACK_MONITOR__SETTLE": "10s",
    "LOGSTACK_ALERTS__RULES": f'{{JobFailed = {{severity = "page", window = "{WINDOW_S}s"}}}}',
}


@pytest.fixture
def alerting(tmp_path: Path, combination: Combination, binaries: None) -> Iterator[AlertingStack]:
    with alerting_stack(tmp_path, {**combination.variables, **VARIABLES}) as started:
        yield started


def fail_a_job(alerting: AlertingStack, mark: str) -> str:
    """What the alert that follows says: the name of the service `mark` in it."""
    alerting.stack.write(line(record("it failed", service_name=mark, event_type="job_failed")))
    return f"JobFailed {mark}"


@contextmanager
def failing_jobs(alerting: AlertingStack, mark: str) -> Iterator[str]:
    """The alert of a service, which does not end before the block, however slow the machine is."""
    ended = threading.Event()

    def fail() -> None:
        while not ended.wait(1):
            fail_a_job(alerting, mark)

    thread = threading.Thread(target=fail, daemon=True)
    thread.start()
    try:
        yield fail_a_job(alerting, mark)
    finally:
        ended.set()
        thread.join()


def actions(alerting: AlertingStack, alert: str) -> list[tuple[str, str]]:
    """What PagerDuty was told of an alert, each with its key."""
    return [(r.body["event_action"], r.body["dedup_key"]) for r in alerting.pagerduty(alert)]


def remembered(state: Path) -> object:
    """The alerts that the monitor has seen; its other notes name services, too."""
    return json.loads(state.read_text())["notes"].get("alerts", {})


def test_a_page_outlives_the_outage_of_its_receiver(alerting: AlertingStack) -> None:
    """It is delivered once afterwards, and its end; meanwhile the other channels are told."""
    alerting.http.failing["/services/"] = [500] * 10_000
    alert = fail_a_job(alerting, marker())
    alerting.wait(lambda: alerting.slack(alert, accepted=False), "Slack refused it")
    alerting.wait(lambda: alerting.pagerduty(alert), "PagerDuty took it")
    alerting.wait(lambda: alerting.state("JobFailed") == "inactive", "the rule is over")
    alerting.wait(lambda: alerting.pagerduty("NotificationsFailing"), "PagerDuty is told")
    alerting.wait(lambda: alerting.mails("NotificationsFailing"), "e-mail, too")
    began = time.monotonic()
    poll(lambda: time.monotonic() - began > WINDOW_S, "the alert would be over everywhere")
    calls = len(alerting.http.of("/ping/"))
    assert alerting.slack(alert) == []
    alerting.http.failing["/services/"] = []
    alerting.wait(lambda: len(alerting.slack(alert)) == 2, "Slack is told, and of the end", 150)
    fired, over = (r.body["attachments"][0]["title"] for r in alerting.slack(alert))
    assert "[RESOLVED]" not in fired
    assert "[RESOLVED]" in over
    assert len(alerting.http.of("/ping/")) <= calls + 1  # the dead man's switch is not called


def test_a_restart_leaves_no_incident_open(alerting: AlertingStack) -> None:
    """What was over meanwhile is resolved under the same key."""
    mark, seen = marker(), alerting.stack.target.storage_dir("monitor") / "state.json"
    with failing_jobs(alerting, mark) as alert:
        (fired,) = alerting.wait(lambda: alerting.pagerduty(alert), "PagerDuty took it")
        alerting.wait(lambda: mark in str(remembered(seen)), "the monitor has seen the alert")
        assert alerting.stack.run("down").returncode == 0
    began = time.monotonic()
    poll(lambda: time.monotonic() - began > WINDOW_S + 5, "the rule would be over")
    alerting.stack.up()
    alerting.wait(lambda: actions(alerting, alert)[-1][0] == "resolve", "PagerDuty hears its end")
    assert [action for action, _ in actions(alerting, alert)] == ["trigger", "resolve"]
    assert {key for _, key in actions(alerting, alert)} == {fired.body["dedup_key"]}
