"""Commands that meet: two at once, after one that was killed, and without their supervisord."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from stack.runtimes.supervisor import Supervisor
from stack.runtimes.work_lock import work_lock
from stack.settings import variable_name
from tests.support.native_stack import StackUnderTest, line, marker, poll, processes_of, record

pytestmark = pytest.mark.native


def kill_supervisord(stack: StackUnderTest) -> None:
    """As the kernel does when memory runs out."""
    process = psutil.Process(Supervisor(stack.target).pid())
    process.kill()
    process.wait(10)


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    """A process that answers nobody."""
    process.suspend()
    try:
        yield
    finally:
        if process.is_running():
            process.resume()


def test_the_second_of_two_ups_waits_and_says_for_whom(own_stack: StackUnderTest) -> None:
    """Both end well, and one stack runs."""
    first = own_stack.popen("up")
    poll(lambda: Supervisor(own_stack.target).is_running(), "supervisord running", timeout=60)
    second = own_stack.run("up")
    printed, _ = first.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0), f"{printed}{second.stderr}"
    assert f"Waiting for `logstack up` (process {first.pid}), which works on" in second.stderr
    assert "nothing changed" in second.stdout
    assert own_stack.run("status").returncode == 0


def test_a_command_that_was_killed_holds_up_no_other(own_stack: StackUnderTest) -> None:
    """What it had started is taken over."""
    killed = own_stack.popen("up")
    poll(lambda: Supervisor(own_stack.target).is_running(), "supervisord running", timeout=60)
    killed.kill()
    killed.communicate()
    result = own_stack.run("up")
    assert result.returncode == 0, result.stderr
    assert "Waiting" not in result.stderr
    assert own_stack.run("status").returncode == 0


def test_a_change_reaches_its_component_although_the_up_that_wrote_it_was_killed(
    own_stack: StackUnderTest,
) -> None:
    """The next `up` finds the file as it has to be, and the component as it was."""
    own_stack.up()
    before = own_stack.statuses()["otelcol"]["pid"]
    supervisord = psutil.Process(Supervisor(own_stack.target).pid())
    own_stack.variables[variable_name("agent", "poll_interval")] = "300ms"
    killed = own_stack.popen("up")
    config = own_stack.target.config_dir("otelcol") / "config.yaml"
    poll(lambda: "300ms" in config.read_text(encoding="utf-8"), "the new file", timeout=60)
    killed.kill()
    killed.communicate()
    if own_stack.statuses()["otelcol"]["pid"] != before:
        pytest.skip("it had restarted the collector already")
    assert supervisord.is_running()
    own_stack.up()
    assert own_stack.statuses()["otelcol"]["pid"] != before


def test_without_supervisord_status_says_so_and_down_ends_its_programs(
    own_stack: StackUnderTest,
) -> None:
    """Programs go on when it is killed; nothing is lost, and nothing is left."""
    own_stack.up()
    mark = marker()
    own_stack.write(line(record(mark=mark)))
    own_stack.wait_for({"mark": mark}, 1)
    kill_supervisord(own_stack)
    assert own_stack.run("status").returncode == 1
    engine = own_stack.statuses()["victorialogs"]
    assert (engine["state"], engine["note"]) == (
        *("unsupervised", "supervisord was killed; it goes on alone. Run: make up"),
    )
    assert psutil.pid_exists(engine["pid"])
    ended = own_stack.run("down")
    assert ended.returncode == 0, ended.stderr
    assert "which its predecessor left when it was killed" in ended.stderr
    assert processes_of(own_stack) == []
    assert {item["state"] for item in own_stack.statuses().values()} == {"stopped"}
    own_stack.up()
    assert own_stack.count({"mark": mark}) == 1


def test_without_supervisord_up_starts_anew_and_clean_leaves_nothing_running(
    own_stack: StackUnderTest,
) -> None:
    """Neither says that ports are taken, nor removes data that an engine has open."""
    own_stack.up()
    mark = marker()
    own_stack.write(line(record(mark=mark)))
    own_stack.wait_for({"mark": mark}, 1)
    kill_supervisord(own_stack)
    again = own_stack.run("up")
    assert again.returncode == 0, again.stderr
    assert own_stack.count({"mark": mark}) == 1
    kill_supervisord(own_stack)
    cleaned = own_stack.run("clean", "--yes")
    assert cleaned.returncode == 0, cleaned.stderr
    assert processes_of(own_stack) == []
    assert not own_stack.target.data_dir.exists()


def test_a_supervisord_that_hangs_is_ended(own_stack: StackUnderTest) -> None:
    """It answers nobody, and its programs run."""
    own_stack.up()
    process = psutil.Process(Supervisor(own_stack.target).pid())
    with stopped(process):
        result = own_stack.run("down")
    assert result.returncode == 0, result.stderr
    assert processes_of(own_stack) == []


def test_clean_leaves_the_data_of_a_stack_with_another_run_folder(
    own_stack: StackUnderTest,
) -> None:
    """Its engine writes there."""
    own_stack.up()
    other = {variable_name("paths", "run"): str(own_stack.folder / "other run")}
    refused = own_stack.run("clean", "--yes", extra=other)
    assert refused.returncode == 1
    assert "(victoria-logs)" in refused.stderr
    assert "Stop that process, then run: ./logstack clean" in refused.stderr
    assert own_stack.run("status").returncode == 0
    offset = {**other, variable_name("ports", "offset"): "1"}
    second = own_stack.run("up", extra=offset)
    assert second.returncode == 1
    assert "paths.data: expected a folder that no other stack uses" in second.stderr


def test_down_waits_for_who_works_on_the_stack(own_stack: StackUnderTest) -> None:
    """And says who it is; Ctrl-C ends the waiting."""
    with work_lock(own_stack.settings, "up", lambda text: None):
        waiting = own_stack.popen("down")
        assert waiting.stdout is not None
        said = waiting.stdout.readline()
        waiting.send_signal(signal.SIGINT)
        waiting.communicate(timeout=20)
    assert said.startswith(f"Waiting for `logstack up` (process {os.getpid()})")
    assert waiting.returncode == 130
