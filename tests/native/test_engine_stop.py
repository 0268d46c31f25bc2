"""What a stop and a kill of an engine lose: nothing."""

from __future__ import annotations

import time

import pytest
import requests

from stack.runtimes.supervisor import Supervisor
from tests.native.test_delivery import doubled, wait_until_all_arrived
from tests.support.load import writing
from tests.support.native_stack import ON_ENGINES, StackUnderTest, burst, line, marker, poll, record

pytestmark = pytest.mark.native
RATE = 500  # records a second
KILLS = 3


@pytest.fixture
def running(own_stack: StackUnderTest) -> StackUnderTest:
    own_stack.up()
    return own_stack


@ON_ENGINES
def test_a_killed_engine_loses_nothing(running: StackUnderTest) -> None:
    """What it has acknowledged is on disk; what it has not, the agent sends again."""
    mark = marker()
    with writing(running.app_log, mark, RATE) as writer:
        for _ in range(KILLS):
            writer.wait_for(5)
            running.kill(running.settings.stack.engine)
    numbers = wait_until_all_arrived(running, mark, writer.written)
    print(f"doubled {doubled(numbers)} of {writer.written} records in {KILLS} kills")


@ON_ENGINES
def test_an_engine_killed_right_after_a_backlog_loses_nothing(running: StackUnderTest) -> None:
    """However long the outage was: the agent has deleted the backlog from its queue."""
    mark, count = marker(), 20_000
    supervisor, engine = Supervisor(running.target), running.settings.stack.engine
    supervisor.stop(engine)
    running.write(*burst(count, mark))
    supervisor.restart(engine)
    poll(lambda: running.count({"mark": mark}) >= count, "every record", timeout=90)
    running.kill(engine)
    wait_until_all_arrived(running, mark, count)


def test_a_killed_engine_keeps_the_stream_of_a_record(running: StackUnderTest) -> None:
    """Queries and rules select by it."""
    service = marker()
    running.write(line(record(service_name=service)))
    poll(lambda: running.count({"service_name": service}), "the record")
    running.kill("victorialogs")
    found = poll(lambda: running.streams(service), "its stream")
    assert [stream.get("service_name") for stream in found] == [service]


def test_an_engine_that_stops_with_a_slow_reader_loses_nothing(running: StackUnderTest) -> None:
    """An open query keeps it from an orderly end, and what it has acknowledged is on disk."""
    mark, old = marker(), marker()
    running.write(*burst(20_000, old, padding="x" * 1000))
    wait_until_all_arrived(running, old, 20_000)
    url = running.target.url("victorialogs", "/select/logsql/query")
    query = {"query": f'mark:="{old}"'}
    with writing(running.app_log, mark, RATE) as writer:
        writer.wait_for(5)
        # Nobody reads on: the engine cannot send the rest.
        plain = {"Accept-Encoding": "identity"}
        with requests.get(url, query, headers=plain, stream=True, timeout=60) as reader:
            assert reader.raw.read(1)
            began = time.monotonic()
            Supervisor(running.target).restart("victorialogs")
            assert time.monotonic() - began > 3, "the reader did not hold the engine up"
    wait_until_all_arrived(running, mark, writer.written)
