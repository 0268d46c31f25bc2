"""ServiceSilent, from the last record of a service to the message about it, and to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stack.runtimes.supervisor import Supervisor
from tests.support.alerting import AlertingStack, alerting_stack
from tests.support.native_stack import ON_ENGINES, Combination, line, poll, record

pytestmark = [pytest.mark.native, pytest.mark.own_stack, pytest.mark.timeout(600), ON_ENGINES]
SILENT_S = 60
LATE_S = 20
VARIABLES = {
    "LOGSTACK_MONITOR__INTERVAL": "1s",
    "LOGSTACK_MONITOR__SETTLE": "60s",
    "LOGSTACK_THRESHOLDS__SILENT": f"{SILENT_S}s",
    "LOGSTACK_ALERTS__RULES": '{ServiceSilent = {window = "30s"}}',
    "LOGSTACK_ALERTS__SILENT_AFTER": '{nightly = "1h"}',
}
RETIRED = {"LOGSTACK_ALERTS__RETIRED": '["goes"]'}


@pytest.fixture
def alerting(tmp_path: Path, combination: Combination, binaries: None) -> Iterator[AlertingStack]:
    with alerting_stack(tmp_path, {**combination.variables, **VARIABLES}) as started:
        yield started


def write(alerting: AlertingStack, *services: str) -> None:
    alerting.stack.write(*(line(record(service_name=name)) for name in services))


@contextmanager
def busy(alerting: AlertingStack, service: str) -> Iterator[None]:
    """A service that logs every second until the block ends."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(1):
            write(alerting, service)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def actions(alerting: AlertingStack, service: str) -> list[str]:
    """What PagerDuty was told of a silent service."""
    return [r.body["event_action"] for r in alerting.pagerduty(f"ServiceSilent {service}")]


def wait(seconds: float) -> None:
    began = time.monotonic()
    poll(lambda: time.monotonic() - began > seconds, "", timeout=seconds + 60)


def test_a_silent_service_is_a_page_until_it_logs_again_or_is_retired(
    alerting: AlertingStack,
) -> None:
    """Also when the monitor or the whole stack restarts; and each has a time of its own."""
    stack = alerting.stack
    with busy(alerting, "erp"):
        write(alerting, "billing", "goes", "nightly")
        alerting.wait(lambda: actions(alerting, "billing"), "billing pages", 3 * SILENT_S)
        alerting.wait(lambda: actions(alerting, "goes"), "goes pages", 3 * SILENT_S)
        Supervisor(stack.target).restart("monitor")
        wait(15)
        assert stack.run("down").returncode == 0
        wait(15)
        stack.up()
        wait(30)
        assert actions(alerting, "billing") == actions(alerting, "goes") == ["trigger"]
    with busy(alerting, "erp"), busy(alerting, "billing"):
        alerting.wait(lambda: actions(alerting, "billing")[-1] == "resolve", "billing is back")
        stack.variables.update(RETIRED)
        stack.up()
        alerting.wait(lambda: actions(alerting, "goes")[-1] == "resolve", "goes is retired", 90)
        for name in ("billing", "goes"):
            assert actions(alerting, name) == ["trigger", "resolve"], name
    assert actions(alerting, "nightly") == actions(alerting, "erp") == []


def test_a_quiet_night_pages_nobody_and_a_dead_agent_does(
    tmp_path: Path, combination: Combination, binaries: None
) -> None:
    """The monitors are heard also when nobody works."""
    late = {
        "LOGSTACK_MONITOR__INTERVAL": "1s",
        "LOGSTACK_THRESHOLDS__LATE": f"{LATE_S}s",
        "LOGSTACK_ALERTS__RULES": '{HostSilent = {for = "2s", severity = "page"}}',
    }
    with alerting_stack(tmp_path, {**combination.variables, **late}) as alerting:
        wait(2 * LATE_S)
        assert [r.body["payload"]["summary"] for r in alerting.http.of("/v2/enqueue")] == []
        supervisor = Supervisor(alerting.stack.target)
        supervisor.stop("monitor")
        with busy(alerting, "erp"):
            alerting.wait(lambda: alerting.pagerduty("HostSilent"), "its monitor is missed")
            assert alerting.pagerduty("RecordsLate") == []
        supervisor.start_program("monitor")
        alerting.wait(lambda: len(alerting.pagerduty("HostSilent")) == 2, "it is heard again")
        supervisor.stop(alerting.stack.agent)
        alerting.wait(lambda: alerting.pagerduty("RecordsLate"), "the agent is missed")
        supervisor.start_program(alerting.stack.agent)
        alerting.wait(lambda: len(alerting.pagerduty("RecordsLate")) == 2, "records arrive")
    told = [r.body["event_action"] for r in alerting.pagerduty("RecordsLate")]
    assert told == ["trigger", "resolve"]


def test_services_are_not_silent_while_nobody_can_hear_them(alerting: AlertingStack) -> None:
    """Neither after an outage of the agent nor after one of the stack is a busy one reported."""
    stack = alerting.stack
    supervisor = Supervisor(stack.target)
    with busy(alerting, "erp"):
        wait(20)
        supervisor.stop(stack.agent)
        wait(SILENT_S + 20)
        supervisor.start_program(stack.agent)
        wait(30)
        assert actions(alerting, "erp") == []
        assert stack.run("down").returncode == 0
        wait(SILENT_S + 20)
        stack.up()
        wait(30)
        assert actions(alerting, "erp") == []
