"""What is accepted is stored or named: the monitor counts what an engine has no more."""

from __future__ import annotations

import re
import shutil
import time
from datetime import UTC, datetime, timedelta

import pytest
import requests

from stack.engines import Selection
from stack.records.contract import MONITOR_SERVICE
from stack.runtimes.supervisor import Supervisor
from tests.support.native_stack import LOKI, StackUnderTest, burst, marker, on, poll

pytestmark = [pytest.mark.native, pytest.mark.own_stack]
RECORDS = 2000
LOST = re.compile(r"(?:victorialogs|loki) lost at least (\d+) records? in ten minutes")
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


def test_records_that_the_engine_had_and_has_no_more_are_counted(own_stack: StackUnderTest) -> None:
    """As after an old snapshot; their number, but for some that the monitor logged meanwhile."""
    own_stack.variables["LOGSTACK_MONITOR__INTERVAL"] = "1s"
    own_stack.up()
    own_stack.wait_for({"service_name": MONITOR_SERVICE, "component": "victorialogs"}, 7)
    supervisor = Supervisor(own_stack.target)
    partitions = own_stack.target.storage_dir("victorialogs") / "partitions"
    earlier = own_stack.folder / "earlier"
    supervisor.stop("victorialogs")
    shutil.copytree(partitions, earlier)
    supervisor.start_program("victorialogs")
    mark = marker()
    deliver(own_stack, mark)
    own_stack.wait_for({"mark": mark}, RECORDS)
    time.sleep(3)  # until the monitor has seen them
    supervisor.stop("victorialogs")
    shutil.rmtree(partitions)
    shutil.copytree(earlier, partitions)
    supervisor.start_program("victorialogs")
    poll(
        lambda: abs(counted(own_stack) - RECORDS) <= 100,
        lambda: f"{RECORDS} lost, counted {counted(own_stack)}\n{own_stack.logs()}",
    )
    assert own_stack.count({"mark": mark}) == 0


@on(LOKI)
def test_records_that_loki_does_not_read_back_are_counted(own_stack: StackUnderTest) -> None:
    """Its write-ahead log is damaged; it starts without a word and is healthy."""
    own_stack.variables["LOGSTACK_MONITOR__INTERVAL"] = "1s"
    own_stack.up()
    mark = marker()
    deliver(own_stack, mark)
    own_stack.wait_for({"service_name": MONITOR_SERVICE, "component": "loki"}, 3)
    time.sleep(5)  # until the monitor has seen them
    supervisor = Supervisor(own_stack.target)
    supervisor.stop("loki")
    for segment in (own_stack.target.storage_dir("loki") / "wal").glob("0*"):
        data = segment.read_bytes()
        segment.write_bytes(data[: len(data) // 10] + b"\xff" * (len(data) - len(data) // 10))
    supervisor.start_program("loki")
    poll(
        lambda: counted(own_stack) >= RECORDS / 2,
        lambda: f"{RECORDS} lost, counted {counted(own_stack)}\n{own_stack.logs()}",
        timeout=90,
    )
    assert own_stack.count({"mark": mark}) < RECORDS / 2
