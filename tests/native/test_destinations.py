"""Log servers stand apart: what one of them does not take costs the others nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.log_servers import LogServers, log_servers
from tests.support.native_stack import burst, marker, poll

pytestmark = pytest.mark.native
FIRST, SECOND = "logs-1", "logs-2"


@pytest.fixture
def both(tmp_path: Path, binaries: None) -> Iterator[LogServers]:
    """Two servers and an agent whose queue for each holds a few hundred records."""
    with log_servers(tmp_path / "two servers", (FIRST, SECOND), queue="1MiB") as servers:
        for name in (FIRST, SECOND, "agent"):
            servers.start(name)
        yield servers


def wait_for(servers: LogServers, name: str, mark: str, count: int) -> None:
    poll(
        lambda: servers.count(name, mark) >= count,
        lambda: f"{count} records in {name}, got {servers.count(name, mark)}",
        timeout=90,
    )
    assert set(servers.numbers(name, mark)) == set(range(count))


def test_a_server_that_is_down_with_a_full_queue_stops_no_other(both: LogServers) -> None:
    """12 MB for a queue of 1 MiB; the agent restarts meanwhile, and both get every record once."""
    mark, count = marker(), 20_000
    lines = list(burst(count, mark, padding="x" * 400))
    both.stop(SECOND)
    both.write(*lines[: count // 2])
    wait_for(both, FIRST, mark, count // 2)
    both.stop("agent")
    both.start("agent")
    both.write(*lines[count // 2 :])
    wait_for(both, FIRST, mark, count)
    both.start(SECOND)
    wait_for(both, SECOND, mark, count)
    assert set(both.numbers(FIRST, mark).values()) == {1}


def test_a_killed_server_loses_nothing_that_the_other_has(both: LogServers) -> None:
    """kill -9 in the middle of a burst."""
    mark, count = marker(), 20_000
    lines = list(burst(count, mark))
    both.write(*lines[: count // 2])
    poll(lambda: both.count(SECOND, mark) > 0, "the first records")
    both.kill(SECOND)
    both.start(SECOND)
    both.write(*lines[count // 2 :])
    for name in (FIRST, SECOND):
        wait_for(both, name, mark, count)
