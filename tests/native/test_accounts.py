"""What is accepted is stored or named: the monitor counts what an engine that is killed loses."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
import requests

from stack.engines import Selection
from stack.records.contract import MONITOR_SERVICE
from tests.support.native_stack import StackUnderTest, burst, marker, poll

pytestmark = [pytest.mark.native, pytest.mark.own_stack]
RECORDS = 2000
LOST = re.compile(r"victorialogs lost at least (\d+) records in ten minutes")
SENT = re.compile(r"(?m)^otelcol_exporter_sent_log_records\S* (\S+)$")


def sent(stack: StackUnderTest) -> float:
    """How many records the agent has delivered."""
    text = requests.get(stack.target.url("otelcol_metrics", "/metrics"), timeout=5).text
    return sum(map(float, SENT.findall(text)))


def deliver(stack: StackUnderTest, mark: str) -> None:
    """Log RECORDS records and wait until the engine has acknowledged them."""
    before = sent(stack)
    stack.write(*burst(RECORDS, mark))
    poll(lambda: sent(stack) >= before + RECORDS, "all are delivered")


def counted(stack: StackUnderTest) -> int:
    """How many the monitor's newest record says that the engine lost."""
    matches = {"service_name": MONITOR_SERVICE, "problem": "records_dropped"}
    now = datetime.now(UTC)
    selection = Selection(since=now - timedelta(hours=1), until=now, matches=matches, grep="lost")
    texts = [str(found["message"]) for found in stack.engine.records(selection, limit=1)]
    return int(LOST.findall(texts[-1])[0]) if texts else 0


def test_records_that_a_killed_engine_had_acknowledged_are_counted(
    own_stack: StackUnderTest,
) -> None:
    """Their number, but for some that the monitor logged meanwhile, or that were lost with them."""
    own_stack.variables["LOGSTACK_MONITOR__INTERVAL"] = "1s"
    own_stack.up()
    own_stack.wait_for({"service_name": MONITOR_SERVICE, "component": "victorialogs"}, 7)
    total = missing = 0
    mark = marker()
    for _ in range(5):
        deliver(own_stack, mark)
        total += RECORDS
        own_stack.kill("victorialogs")
        poll(lambda: own_stack.statuses()["victorialogs"]["state"] == "healthy", "it runs again")
        if missing := total - own_stack.count({"mark": mark}):
            break
    else:
        pytest.skip("the engine wrote everything before it was killed")
    poll(
        lambda: abs(missing - counted(own_stack)) <= 100,
        lambda: f"{missing} lost, counted {counted(own_stack)}\n{own_stack.logs()}",
    )
