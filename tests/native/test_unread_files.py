"""Files that go before the agent has read them are named, with their bytes, and no others."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stack.records.contract import MONITOR_SERVICE
from tests.support.native_stack import (
    ON_EVERY_COMBINATION,
    StackUnderTest,
    line,
    marker,
    poll,
    record,
)

pytestmark = [pytest.mark.native, pytest.mark.own_stack, ON_EVERY_COMBINATION]
OFTEN = {"LOGSTACK_MONITOR__INTERVAL": "1s"}
SEEN = {"service_name": MONITOR_SERVICE, "problem": "file_unread"}


@contextmanager
def stopped(stack: StackUnderTest) -> Iterator[None]:
    """The agent gets nothing of the processor."""
    pid = stack.statuses()[stack.agent]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def wait_until_followed(stack: StackUnderTest) -> None:
    """Two more looks of the monitor, between which it looks at the files."""
    state = stack.target.storage_dir("monitor") / "state.json"
    for _ in range(2):
        wait_until_changed(state)


def wait_until_changed(path: Path) -> None:
    before = path.stat().st_mtime_ns
    poll(lambda: path.stat().st_mtime_ns != before, "the monitor looked")


def test_a_file_that_is_deleted_unread_is_named_and_one_that_is_read_is_not(
    own_stack: StackUnderTest,
) -> None:
    """The bytes of what the agent never saw; what it has open it reads, though it is gone."""
    own_stack.variables |= OFTEN
    own_stack.up()
    log, mark = own_stack.app_log, marker()

    def write(what: str) -> None:
        own_stack.write(line(record(what, mark=mark, what=what)))

    write("read")
    own_stack.wait_for({"what": "read"}, 1)
    with stopped(own_stack):
        write("of a file that is open")
        log.unlink()
        write("unread")
        wait_until_followed(own_stack)
        size = log.stat().st_size
        log.unlink()
        write("afterwards")
        wait_until_followed(own_stack)
    for what in ("of a file that is open", "afterwards"):
        own_stack.wait_for({"mark": mark, "what": what}, 1)
    said = own_stack.wait_for(SEEN, 1)[0]
    service = own_stack.settings.sample_app.service
    assert (said["component"], said["watched_service"]) == (own_stack.agent, service)
    text = f"{size} bytes in 1 log file of {service} went before {own_stack.agent} had read them"
    assert text in str(said["message"])
    assert f"{log}: {size} bytes, removed at " in str(said["message"])
    assert text in " ".join(own_stack.run("doctor").stdout.split())  # as wide as the table is
    assert own_stack.count({"mark": mark}) == 3


def test_rotation_that_the_agent_keeps_up_with_is_no_problem(own_stack: StackUnderTest) -> None:
    """Renamed, deleted, and emptied after it was read."""
    own_stack.variables |= OFTEN
    own_stack.up()
    log, mark = own_stack.app_log, marker()
    for number in range(6):
        own_stack.write(line(record(mark=mark, number=number)))
        own_stack.wait_for({"mark": mark}, number + 1)
        wait_until_followed(own_stack)
        if number % 3 == 0:
            log.rename(log.with_name(f"{log.name}.1"))
        elif number % 3 == 1:
            log.unlink()
        else:
            os.truncate(log, 0)
        wait_until_followed(own_stack)  # Promtail polls more rarely
    own_stack.wait_for({"service_name": MONITOR_SERVICE, "component": own_stack.agent}, 6)
    assert own_stack.count(SEEN) == 0
