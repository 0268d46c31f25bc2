"""What a stop and a kill of VictoriaLogs lose: nothing, and the last seconds."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from stack.runtimes.supervisor import Supervisor
from tests.native.test_delivery import arrived, wait_until_all_arrived
from tests.support.native_stack import StackUnderTest, burst, marker, poll

pytestmark = pytest.mark.native
RATE = 500  # records a second
# Seconds of records that a kill may lose: two flush intervals and one, and time for a slow machine.
MOST_LOST = 5


@pytest.fixture
def running(own_stack: StackUnderTest) -> StackUnderTest:
    own_stack.up()
    return own_stack


class Writer(threading.Thread):
    """Appends numbered records at RATE until it is stopped; `written` says how many."""

    def __init__(self, stack: StackUnderTest, mark: str):
        super().__init__(daemon=True)
        self.written = 0
        self._stack, self._mark = stack, mark
        self._stopped = threading.Event()

    def run(self) -> None:
        lines = iter(burst(1_000_000, self._mark))
        step = RATE // 10
        while not self._stopped.wait(0.1):
            self._stack.write(*(next(lines) for _ in range(step)))
            self.written += step

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@contextmanager
def writing(stack: StackUnderTest, mark: str) -> Iterator[Writer]:
    writer = Writer(stack, mark)
    writer.start()
    try:
        yield writer
    finally:
        writer.stop()


def kill(stack: StackUnderTest) -> None:
    """kill -9 of the engine, which supervisord starts again."""
    stack.kill("victorialogs")


def held_in_memory(stack: StackUnderTest) -> int:
    """How many records the engine has that are not on disk, by its own metrics."""
    text = requests.get(stack.target.url("victorialogs", "/metrics"), timeout=5).text
    (rows,) = re.findall(r'^vl_storage_rows\{type="storage/inmemory"\} (\d+)', text, re.MULTILINE)
    return int(rows)


def test_a_killed_engine_loses_a_few_seconds_of_records_at_most(running: StackUnderTest) -> None:
    """README states the figure measured: what was acknowledged in the last seconds is gone."""
    mark = marker()
    with writing(running, mark) as writer:
        poll(lambda: writer.written >= 15 * RATE, "15 s of records")
        kill(running)
        before = writer.written
        poll(lambda: writer.written >= before + RATE, "records after the kill")
    last = writer.written - 1
    poll(lambda: last in arrived(running, mark), f"the last record, {last}", timeout=90)
    lost = writer.written - len(arrived(running, mark))
    print(f"lost {lost} of {writer.written} records, {lost / RATE:.1f} s")
    assert lost <= MOST_LOST * RATE


def test_a_delivered_backlog_is_on_disk_within_seconds(running: StackUnderTest) -> None:
    """Until then a kill loses all of it, however long the outage was; afterwards nothing."""
    mark, count = marker(), 20_000
    supervisor = Supervisor(running.target)
    supervisor.stop("victorialogs")
    running.write(*burst(count, mark))
    supervisor.restart("victorialogs")
    wait_until_all_arrived(running, mark, count)
    poll(lambda: held_in_memory(running) == 0, "every record on disk", timeout=MOST_LOST)
    kill(running)
    wait_until_all_arrived(running, mark, count)


def test_an_engine_that_stops_with_a_slow_reader_loses_nothing(running: StackUnderTest) -> None:
    """An open query keeps it from an orderly end, and what it has acknowledged is on disk."""
    mark, old = marker(), marker()
    running.write(*burst(20_000, old, padding="x" * 1000))
    wait_until_all_arrived(running, old, 20_000)
    url = running.target.url("victorialogs", "/select/logsql/query")
    query = {"query": f'mark:="{old}"'}
    with writing(running, mark) as writer:
        poll(lambda: writer.written >= 5 * RATE, "5 s of records")
        # Nobody reads on: the engine cannot send the rest.
        plain = {"Accept-Encoding": "identity"}
        with requests.get(url, query, headers=plain, stream=True, timeout=60) as reader:
            assert reader.raw.read(1)
            began = time.monotonic()
            Supervisor(running.target).restart("victorialogs")
            assert time.monotonic() - began > 3, "the reader did not hold the engine up"
    wait_until_all_arrived(running, mark, writer.written)
