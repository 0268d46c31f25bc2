"""The monitor's alerts reach people while the engine takes no records, and each of them once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import requests

from stack.runtimes.supervisor import Supervisor
from tests.native.test_doctor import restart_with
from tests.support.alerting import AlertingStack, alerting_stack
from tests.support.native_stack import ON_ENGINES, Combination, line, record

pytestmark = [pytest.mark.native, pytest.mark.own_stack, pytest.mark.timeout(400)]
# The rules see as much of the past as usual in seconds, so that their alerts end, too.
VARIABLES = {
    "LOGSTACK_MONITOR__INTERVAL": "1s",
    "LOGSTACK_MONITOR__QUEUE": "10s",
    "LOGSTACK_ALERTS__RULES": '{ComponentDown = {window = "15s", for = "1s"}, '
    'EngineReadOnly = {window = "15s"}, AgentQueueGrowing = {window = "15s"}}',
}


@pytest.fixture
def alerting(tmp_path: Path, combination: Combination, binaries: None) -> Iterator[AlertingStack]:
    with alerting_stack(tmp_path, {**combination.variables, **VARIABLES}) as started:
        yield started


def active(alerting: AlertingStack, name: str) -> list[dict[str, Any]]:
    """The alerts of a rule in Alertmanager."""
    url = alerting.stack.target.url("alertmanager", "/api/v2/alerts")
    answer = requests.get(
        url, params={"active": "true", "filter": f'alertname="{name}"'}, timeout=9
    )
    found: list[dict[str, Any]] = answer.json()
    return found


def actions(alerting: AlertingStack, name: str) -> list[str]:
    """What PagerDuty was told of the incident, without repetitions, in order."""
    told = [r.body["event_action"] for r in alerting.pagerduty(name)]
    return [action for action, _ in groupby(told)]


def wait_for_end(alerting: AlertingStack, name: str, expected: list[str]) -> None:
    alerting.wait(lambda: actions(alerting, name)[-1] == "resolve", f"{name} is over", 150)
    assert actions(alerting, name) == expected


@ON_ENGINES
def test_an_engine_that_is_stopped_is_a_page_while_it_is_stopped(alerting: AlertingStack) -> None:
    """Of another program the rule knows, too, and there is one alert, and one message."""
    supervisor, engine = Supervisor(alerting.stack.target), alerting.stack.settings.stack.engine
    once = ["trigger", "resolve"]
    supervisor.stop("sample_app")
    alerting.wait(lambda: actions(alerting, "ComponentDown"), "a page")
    alerting.wait(lambda: alerting.state("ComponentDown") == "firing", "the rule fires, too")
    (alert,) = active(alerting, "ComponentDown")
    assert alert["labels"] == {
        "alertname": "ComponentDown",
        "severity": "page",
        "environment": "dev",
        "host": alerting.stack.settings.host,
        "component": "sample_app",
    }
    supervisor.start_program("sample_app")
    wait_for_end(alerting, "ComponentDown", once)
    assert len(alerting.pagerduty("ComponentDown")) == 2
    supervisor.stop(engine)
    alerting.wait(lambda: len(actions(alerting, "ComponentDown")) == 3, "a page")
    text = str(alerting.pagerduty("ComponentDown")[-1].body)
    assert f"{engine} on {alerting.stack.settings.host} does not run" in text
    assert f"{engine} is stopped" in text
    supervisor.start_program(engine)
    wait_for_end(alerting, "ComponentDown", once * 2)


def test_an_engine_that_takes_no_records_is_a_page_while_it_takes_none(
    alerting: AlertingStack,
) -> None:
    """And its agent's queue a ticket; both end."""
    few = "-storage.minFreeDiskSpaceBytes=[0-9]+"
    alerting.stack.write(line(record("before")))
    restart_with(alerting.stack, "victorialogs", few, f"-storage.minFreeDiskSpaceBytes={2**50}")
    alerting.wait(lambda: actions(alerting, "EngineReadOnly"), "a page")
    alerting.wait(lambda: alerting.slack("AgentQueueGrowing"), "a ticket")
    assert alerting.stack.count({"problem": "engine_read_only"}) == 0, "no rule can see it"
    restart_with(alerting.stack, "victorialogs", few, f"-storage.minFreeDiskSpaceBytes={2**20}")
    wait_for_end(alerting, "EngineReadOnly", ["trigger", "resolve"])
    alerting.wait(lambda: len(alerting.slack("AgentQueueGrowing")) == 2, "the ticket is over", 150)
    titles = [r.body["attachments"][0]["title"] for r in alerting.slack("AgentQueueGrowing")]
    assert ["[RESOLVED]" in title for title in titles] == [False, True]
