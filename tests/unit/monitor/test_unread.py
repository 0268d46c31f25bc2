"""What the monitor says of log files that are gone: a process stands for the agent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stack.monitor import unread
from stack.monitor.history import History
from stack.monitor.plan import Files, Limits, Plan
from stack.monitor.unread import Watch
from stack.monitor.view import View

LIMITS = Limits(300, 259_200, 5, 14, 1, 720, 360)
# Opens the file of each line, or reads so many bytes of it, and closes it for `-1`.
READER = """
import os, sys
known = {}
for line in sys.stdin:
    size, path = line.rstrip("\\n").split(" ", 1)
    if path not in known:
        known[path] = os.open(path, os.O_RDONLY)
    if int(size) < 0:
        os.close(known.pop(path))
    else:
        os.read(known[path], int(size))
    print(flush=True)
"""


@dataclass
class Agent:
    """A process that reads files when it is asked to."""

    process: subprocess.Popen[str] = field(
        default_factory=lambda: subprocess.Popen(
            [sys.executable, "-c", READER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )

    def read(self, path: Path, size: int) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{size} {path}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "\n"

    def close(self, path: Path) -> None:
        self.read(path, -1)

    def end(self) -> None:
        self.process.communicate()


@pytest.fixture
def agent() -> Iterator[Agent]:
    started = Agent()
    yield started
    started.end()


def plan_for(folder: Path) -> Plan:
    log = str(folder / "app.log")
    entry = Files("api", (log, f"{log}.*", f"{log}-[0-9]*"), (f"{log}*.gz",), True)
    return Plan("dev", 30, "", "", "make up", "otelcol", "vl", (), (entry,), LIMITS)


@pytest.fixture
def watch(tmp_path: Path, agent: Agent) -> Watch:
    """One that has begun before there are files."""
    made = Watch(plan_for(tmp_path), lambda plan, name: agent.process.pid)
    assert made.step(0) == []
    return made


def losses(watch: Watch) -> list[tuple[str, int, str]]:
    return [(Path(loss.path).name, loss.size, loss.how) for loss in watch.step(1)]


def write(path: Path, text: str) -> Path:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
    return path


def test_a_file_that_the_agent_never_opened_is_lost_with_its_last_bytes(
    watch: Watch, tmp_path: Path
) -> None:
    """Also what was written after the last step: its size is known when its name is gone."""
    log = write(tmp_path / "app.log", "x" * 100)
    assert losses(watch) == []
    assert losses(watch) == []
    write(log, "y" * 20).unlink()
    assert losses(watch) == [("app.log", 120, "removed")]
    assert losses(watch) == []
    assert watch.known == {}


def test_a_file_that_the_agent_still_has_open_is_read(
    watch: Watch, agent: Agent, tmp_path: Path
) -> None:
    """Until the agent ends: then the rest is lost."""
    log, other = (write(tmp_path / name, "x" * 100) for name in ("app.log", "app.log.1"))
    agent.read(log, 30)
    agent.read(other, 30)
    losses(watch)
    log.unlink()
    other.unlink()
    assert losses(watch) == []
    agent.close(log)
    assert losses(watch) == []
    assert [file.path for file in watch.known.values()] == [str(other)]
    agent.end()
    watch.find_agent = lambda plan, name: 0
    assert losses(watch) == [("app.log.1", 70, "removed")]


def test_a_file_that_another_agent_process_has_read_is_read(
    watch: Watch, agent: Agent, tmp_path: Path
) -> None:
    """A restart of the agent is no loss."""
    log = write(tmp_path / "app.log", "x" * 100)
    agent.read(log, 100)
    losses(watch)
    agent.end()
    watch.find_agent = lambda plan, name: 0
    assert losses(watch) == []
    log.unlink()
    assert losses(watch) == []


def test_a_file_of_less_than_a_step_may_have_been_read(watch: Watch, tmp_path: Path) -> None:
    """Nobody saw it open, which takes two steps to be sure of."""
    log = write(tmp_path / "app.log", "x" * 100)
    losses(watch)
    log.unlink()
    assert losses(watch) == []


def test_a_rename_is_a_loss_only_out_of_the_patterns(watch: Watch, tmp_path: Path) -> None:
    """By number and by date the agent follows it; compressed, or in another folder, not."""
    first, second = (write(tmp_path / name, "x" * 100) for name in ("app.log", "app.log.3"))
    losses(watch)
    first = first.rename(tmp_path / "app.log-20260101")
    second = second.rename(tmp_path / "app.log.4")
    assert losses(watch) == []
    first.rename(tmp_path / "old")
    second.rename(tmp_path / "app.log.4.gz")
    assert sorted(losses(watch)) == [
        ("app.log-20260101", 100, "removed"),
        ("app.log.4", 100, "removed"),
    ]


def test_an_emptied_file_is_a_loss_unless_the_agent_has_a_copy(
    watch: Watch, agent: Agent, tmp_path: Path
) -> None:
    """What was there for a step and not read: a reader that is half a step behind is well."""
    log = write(tmp_path / "app.log", "x" * 100)
    agent.read(log, 40)
    losses(watch)
    losses(watch)
    os.truncate(log, 0)
    assert losses(watch) == [("app.log", 60, "emptied")]
    write(log, "z" * 100)
    agent.read(log, 40)
    losses(watch)
    losses(watch)
    (tmp_path / "app.log.1").write_bytes(log.read_bytes())
    os.truncate(log, 0)
    assert losses(watch) == []


def test_what_may_have_been_read_before_the_watch_began_is_no_loss(
    agent: Agent, tmp_path: Path
) -> None:
    """Until the agent opens it."""
    old, opened = (write(tmp_path / name, "x" * 100) for name in ("app.log.1", "app.log"))
    agent.read(opened, 10)
    watch = Watch(plan_for(tmp_path), lambda plan, name: agent.process.pid)
    losses(watch)
    losses(watch)
    agent.end()
    watch.find_agent = lambda plan, name: 0
    old.unlink()
    opened.unlink()
    assert losses(watch) == [("app.log", 90, "removed")]


def test_a_watch_that_may_not_see_the_agent_says_nothing(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than that everything is lost."""
    log = write(tmp_path / "app.log", "x" * 100)

    def refuse(pid: int, wanted: object) -> None:
        raise PermissionError

    monkeypatch.setattr(unread, "positions", refuse)
    losses(watch)
    losses(watch)
    log.unlink()
    assert losses(watch) == []


def test_the_number_of_open_files_has_a_limit(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest are followed."""
    monkeypatch.setattr(unread, "MOST", 2)
    for number in range(4):
        path = write(tmp_path / f"app.log.{number}", "x")
        os.utime(path, (number, number))
        losses(watch)
    assert {Path(file.path).name for file in watch.known.values()} == {"app.log.2", "app.log.3"}
    (tmp_path / "app.log.3").unlink()
    losses(watch)
    losses(watch)
    assert {Path(file.path).name for file in watch.known.values()} == {"app.log.1", "app.log.2"}


def test_a_loss_is_a_problem_of_its_service_for_ten_minutes(watch: Watch, tmp_path: Path) -> None:
    """With the bytes, the file and the time."""
    log = write(tmp_path / "app.log", "x" * 100)
    losses(watch)
    losses(watch)
    log.unlink()
    known = History()
    watch.losses = watch.step(1_000_000.0)
    watch.note(known.notes)
    watch.note(known.notes)

    def seen(now: float) -> list[str]:
        (item,) = unread.look(View(watch.plan, now, known, {}, {}))
        assert item.component == "otelcol"
        return [f"{x.name} {x.service}: {x.cause} ({x.evidence})" for x in item.problems]

    assert seen(1_000_000 + 599) == [
        "file_unread api: 100 bytes in 1 log file of api went before otelcol had read them "
        f"({log}: 100 bytes, removed at 13:46:40 UTC)"
    ]
    assert seen(1_000_000 + 601) == []
