"""Nothing is lost: records written while components die, stop or are full arrive all the same."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from os import SEEK_END
from signal import SIGKILL

import pytest
import requests

from stack.common import wait_until
from stack.engines import Selection
from stack.runtimes.supervisor import Supervisor
from stack.settings import variable_name
from tests.support.native_stack import ON_EVERY_COMBINATION, StackUnderTest, burst, marker, poll

pytestmark = [pytest.mark.native, ON_EVERY_COMBINATION]
# Records that the collector hands over at a time. One that is stopped in the middle of
# reading does not store the position behind the batch under way, so that it reads that one again.
READER_BATCH = 100
# What the collector logs before it moves what was being sent when it was killed.
MOVES = "Fetching items left for dispatch"


@pytest.fixture
def running(own_stack: StackUnderTest) -> StackUnderTest:
    own_stack.up()
    return own_stack


def arrived(stack: StackUnderTest, mark: str) -> Counter[int]:
    """How often each number of a burst is in the engine."""
    now = datetime.now(UTC)
    selection = Selection(
        since=now - timedelta(days=1), until=now + timedelta(days=1), matches={"mark": mark}
    )
    found = stack.engine.records(selection, limit=1_000_000)
    return Counter(int(str(record["number"])) for record in found)


def wait_until_all_arrived(stack: StackUnderTest, mark: str, count: int) -> Counter[int]:
    poll(
        lambda: stack.count({"mark": mark}) >= count and len(arrived(stack, mark)) >= count,
        lambda: f"{count} different records, found {len(arrived(stack, mark))}\n{stack.logs()}",
        timeout=120,
    )
    numbers = arrived(stack, mark)
    assert set(numbers) == set(range(count))
    return numbers


def doubled(numbers: Counter[int]) -> int:
    return sum(times - 1 for times in numbers.values())


def in_parts(lines: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(lines), size):
        yield lines[start : start + size]


def test_a_killed_agent_loses_nothing(running: StackUnderTest) -> None:
    """kill -9 in the middle of a burst, twice; only what was under way may come more than once.

    That is all that it read since it last stored its position, which it does at the end of a file.
    """
    running.unless_promtail("no queue on disk: what it holds when it is killed can be lost")
    mark, count = marker(), 40_000
    for number, lines in enumerate(in_parts(list(burst(count, mark)), 4000)):
        running.write(*lines)
        if number == 0:
            wait_until_all_arrived(running, mark, 4000)
        if number in (3, 6):
            running.kill(running.agent)
    numbers = wait_until_all_arrived(running, mark, count)
    written_before_or_after = [*range(4000), *range(7 * 4000, count)]
    assert {numbers[number] for number in written_before_or_after} == {1}


def test_an_agent_that_is_killed_again_while_it_starts_loses_nothing(
    running: StackUnderTest,
) -> None:
    """Its queue moves what was being sent when the first kill came."""
    running.unless_promtail("no queue on disk: what it holds when it is killed can be lost")
    mark, count = marker(), 40_000
    supervisor = Supervisor(running.target)
    supervisor.stop(running.settings.stack.engine)
    running.write(*burst(count, mark))
    poll(lambda: accepted(running) >= count, "all records in the queue")
    with running.target.log_file(running.agent).open(encoding="utf-8") as log:
        log.seek(0, SEEK_END)
        running.kill(running.agent)
        assert wait_until(lambda: MOVES in log.read(), timeout=40, every=0.001)
        os.kill(supervisor.processes()[running.agent].pid, SIGKILL)
    supervisor.start_program(running.settings.stack.engine)
    wait_until_all_arrived(running, mark, count)


def accepted(stack: StackUnderTest) -> int:
    """The records that the collector has read since it started, by its own count."""
    text = requests.get(stack.target.url("otelcol_metrics", "/metrics"), timeout=10).text
    counts = re.findall(r"(?m)^otelcol_receiver_accepted_log_records{.*} (\S+)$", text)
    return sum(int(float(count)) for count in counts)


def test_an_engine_that_is_away_loses_and_doubles_nothing(running: StackUnderTest) -> None:
    """Records written meanwhile wait in the agent's queue on disk."""
    mark, count = marker(), 20_000
    supervisor = Supervisor(running.target)
    lines = list(burst(count, mark))
    running.write(*lines[:5000])
    wait_until_all_arrived(running, mark, 5000)
    supervisor.stop(running.settings.stack.engine)
    running.write(*lines[5000:])
    assert running.run("status").returncode == 1
    supervisor.restart(running.settings.stack.engine)
    numbers = wait_until_all_arrived(running, mark, count)
    assert doubled(numbers) == 0


def test_an_agent_restarted_while_the_engine_is_away_loses_nothing(
    running: StackUnderTest,
) -> None:
    """Its queue is on disk; of what it was reading, one batch at most comes twice."""
    running.unless_promtail("no queue on disk: a restart while Loki is away can lose a batch")
    mark, count = marker(), 20_000
    supervisor = Supervisor(running.target)
    lines = list(burst(count, mark))
    running.write(*lines[:5000])
    wait_until_all_arrived(running, mark, 5000)
    supervisor.stop(running.settings.stack.engine)
    running.write(*lines[5000:12_000])
    supervisor.restart(running.agent)
    running.write(*lines[12_000:])
    supervisor.restart(running.settings.stack.engine)
    numbers = wait_until_all_arrived(running, mark, count)
    assert doubled(numbers) <= READER_BATCH


def test_an_engine_restarted_under_load_loses_and_doubles_nothing(
    running: StackUnderTest,
) -> None:
    """An orderly restart of the engine while records stream in."""
    mark, count = marker(), 40_000
    supervisor = Supervisor(running.target)
    for number, lines in enumerate(in_parts(list(burst(count, mark)), 4000)):
        running.write(*lines)
        if number == 4:
            supervisor.restart(running.settings.stack.engine)
    numbers = wait_until_all_arrived(running, mark, count)
    assert doubled(numbers) == 0


def test_a_full_queue_makes_the_agent_wait_not_drop(own_stack: StackUnderTest) -> None:
    """With 1 MiB, the smallest queue of lines of 4 KiB, the files themselves are the buffer."""
    own_stack.unless_promtail("no queue on disk, and a rotated file is not read while Loki is away")
    own_stack.variables[variable_name("limits", "queue")] = "1MiB"
    own_stack.variables[variable_name("limits", "line")] = "4KiB"
    own_stack.up()
    mark, count = marker(), 20_000
    supervisor = Supervisor(own_stack.target)
    supervisor.stop(own_stack.settings.stack.engine)
    lines = list(burst(count, mark, padding="x" * 400))
    lines[:400] = burst(400, mark, padding="x" * 3800)
    own_stack.write(*lines[:10_000])
    rotated = own_stack.app_log.with_name(f"{own_stack.app_log.name}.1")
    own_stack.app_log.rename(rotated)
    own_stack.write(*lines[10_000:15_000])
    rotated.rename(own_stack.app_log.with_name(f"{own_stack.app_log.name}.2"))
    own_stack.app_log.rename(rotated)
    own_stack.write(*lines[15_000:])
    supervisor.restart(own_stack.settings.stack.engine)
    numbers = wait_until_all_arrived(own_stack, mark, count)
    assert doubled(numbers) == 0


def test_an_orderly_stop_and_start_loses_nothing(running: StackUnderTest) -> None:
    """`down` in the middle of a burst, `up` after more was written; one batch may come twice."""
    mark, count = marker(), 20_000
    lines = list(burst(count, mark))
    running.write(*lines[:10_000])
    assert running.run("down").returncode == 0
    running.write(*lines[10_000:])
    running.up()
    numbers = wait_until_all_arrived(running, mark, count)
    assert doubled(numbers) <= READER_BATCH
