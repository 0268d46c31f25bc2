"""Log files that were removed or emptied before the agent had read them.

The monitor keeps the agent's files open, so that it knows the size of one that is gone, and sees by
the agent's own descriptors how far it has read. What is gone and still open in the agent will be
read. A file that is read and removed between two steps must not count: what an agent that runs has
not read is lost only if it had been there for a step.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stack.common.counted import counted
from stack.monitor.files import SHOWN, matching
from stack.monitor.history import KEPT_S
from stack.monitor.model import Observation, Problem
from stack.monitor.plan import Files, Plan
from stack.monitor.processes import clock, pid_of
from stack.monitor.view import View

STEP_S = (
    0.5  # longer than from one look of the agent at its files to the next (agent.poll_interval)
)
SHARE = 0.02  # of a processor: with many files steps are longer
MOST = 500  # files that are kept open, the newest
HEAD = 1024  # first bytes, by which a copy is recognised
NOTE = "unread"

Inode = tuple[int, int]


@dataclass
class Followed:
    """A file that is kept open, as it was at the last step; sizes in bytes.

    `position`: how far all destinations of the agent are; None: not known, as the agent has not
    opened this file since the watch began, and may have read it before. `waiting`: what had been
    there for a step and was not read. `reader`: the process that has it open, 0: none.
    """

    service: str
    path: str
    descriptor: int
    position: int | None
    size: int = 0
    waiting: int = 0
    reader: int = 0
    head: bytes = b""


@dataclass(frozen=True)
class Loss:
    """Bytes that went with a file, at a time in seconds since the epoch. `how`: a participle."""

    moment: float
    service: str
    path: str
    size: int
    how: str


def look(view: View) -> Iterator[Observation]:
    """One observation of the agent, with a problem for each service that lost something."""
    if not view.plan.files:
        return
    notes = view.history.notes
    losses = [Loss(**item) for item in notes.get(NOTE, ()) if item["moment"] > view.now - KEPT_S]
    notes[NOTE] = [asdict(loss) for loss in losses]
    by_service: dict[str, list[Loss]] = {}
    for loss in losses:
        by_service.setdefault(loss.service, []).append(loss)
    problems = tuple(_problem(view.plan, service, found) for service, found in by_service.items())
    values = {"unread_bytes_10m": sum(loss.size for loss in losses)}
    yield Observation(view.plan.agent, values=values, problems=problems)


def _problem(plan: Plan, service: str, losses: list[Loss]) -> Problem:
    lost = sum(loss.size for loss in losses)
    files = counted(len(losses), "log file")
    shown = [f"{x.path}: {x.size} bytes, {x.how} at {clock(x.moment)}" for x in losses[-SHOWN:]]
    return Problem(
        "file_unread",
        f"{counted(lost, 'byte')} in {files} of {service} went before {plan.agent} had read them",
        "; ".join(shown),
        plan.show(plan.agent),
        service,
    )


@dataclass
class Watch:
    """Follows the files of a plan, step by step."""

    plan: Plan
    find_agent: Callable[[Plan, str], int] = pid_of
    known: dict[Inode, Followed] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    _there: set[Inode] | None = None
    _agent: int = 0

    def start(self) -> None:
        """Step all the time, in a thread of its own: a look waits for programs that hang."""
        if self.plan.files:
            threading.Thread(target=self._run, daemon=True).start()

    def note(self, notes: dict[str, Any]) -> None:
        """Add what was lost since the last call."""
        losses = self.losses[:]
        del self.losses[: len(losses)]  # the thread may have added more
        notes.setdefault(NOTE, []).extend(asdict(loss) for loss in losses)

    def _run(self) -> None:
        said = ""
        while True:
            began = time.monotonic()
            try:
                self.losses += self.step(time.time())
            except OSError as error:
                if str(error) != said:
                    said = str(error)
                    sys.stderr.write(f"cannot follow the log files: {said}\n")
            time.sleep(max(STEP_S, (time.monotonic() - began) / SHARE))

    def step(self, now: float) -> list[Loss]:
        """Look at every file once."""
        there = self._open_new()
        if not (self._agent and Path(f"/proc/{self._agent}").exists()):
            self._agent = self.find_agent(self.plan, self.plan.agent)
        readers: dict[Inode, list[int]] = {}
        try:
            readers = positions(self._agent, self.known)
        except PermissionError:
            for file in self.known.values():
                file.position = None
        losses = []
        for inode, file in list(self.known.items()):
            found = readers.get(inode, [])
            try:
                size = os.fstat(file.descriptor).st_size
            except OSError:  # of a file system on the network
                os.close(self.known.pop(inode).descriptor)
                continue
            lost, how = 0, "removed"
            if inode not in there and not found:
                lost = self._lost_with(file, size)
            elif size < file.size:
                lost, how = self._lost_before(file), "emptied"
                file.position = 0
            if lost > 0:
                losses.append(Loss(now, file.service, file.path, lost, how))
            if inode in there or found:
                self._update(file, size, found, is_there=inode in there)
            else:
                os.close(self.known.pop(inode).descriptor)
        return losses

    def _lost_with(self, file: Followed, size: int) -> int:
        """Of a file that is gone, and that the agent does not have open (any more)."""
        runs = self._agent != 0
        if file.position is None or (runs and file.reader == self._agent):
            return 0  # it has read it to its end
        return size - file.position if file.waiting or not runs or file.reader else 0

    def _lost_before(self, file: Followed) -> int:
        """Of a file that is smaller than before; its content may be in another file now."""
        copied = any(
            other is not file
            and os.fstat(other.descriptor).st_size >= file.size
            and os.pread(other.descriptor, len(file.head), 0) == file.head
            for other in self.known.values()
        )
        return file.size - (file.position or 0) if file.waiting and not copied else 0

    def _update(self, file: Followed, size: int, found: list[int], *, is_there: bool) -> None:
        complete = len(found) >= (max(1, len(self.plan.servers)) if is_there else 1)
        if complete:  # a descriptor that was just opened is at the beginning
            file.position = min(max(file.position or 0, min(found)), size)
        file.reader = self._agent if complete else 0
        file.waiting = 0 if file.position is None else max(0, min(file.size, size) - file.position)
        if size < file.size or len(file.head) < min(size, HEAD):
            file.head = os.pread(file.descriptor, HEAD, 0)
        file.size = size

    def _open_new(self) -> set[Inode]:
        """Open the files that are new, up to MOST; those that match now."""
        found = sorted(_matching(self.plan), key=lambda item: item[0].st_mtime)
        there = {inode_of(item[0]) for item in found}
        newest = {inode_of(info): (path, entry) for info, path, entry in found[-MOST:]}
        for inode in (there & self.known.keys()) - newest.keys():
            os.close(self.known.pop(inode).descriptor)
        for inode, (path, entry) in newest.items():
            if inode in self.known:
                self.known[inode].path = path
                continue
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                if inode_of(os.fstat(descriptor)) != inode:
                    os.close(descriptor)
                    continue
                is_new = self._there is not None and inode not in self._there
                position = 0 if is_new else None
                self.known[inode] = Followed(entry.service, path, descriptor, position)
        self._there = there
        return there


def positions(pid: int, wanted: Container[Inode]) -> dict[Inode, list[int]]:
    """How far a process is in each of these files, for each time that it has it open.

    Raises PermissionError.
    """
    found: dict[Inode, list[int]] = {}
    folder = Path(f"/proc/{pid}")
    with suppress(FileNotFoundError, ProcessLookupError):  # it ended
        for opened in (folder / "fd").iterdir():
            with suppress(FileNotFoundError):
                inode = inode_of(opened.stat())
                if inode in wanted:
                    text = (folder / "fdinfo" / opened.name).read_text(encoding="ascii")
                    found.setdefault(inode, []).append(int(text.split(None, 2)[1]))
    return found


def inode_of(info: os.stat_result) -> Inode:
    """What names a file, whatever its path."""
    return info.st_dev, info.st_ino


def _matching(plan: Plan) -> Iterator[tuple[os.stat_result, str, Files]]:
    """The files that the agent follows, each with the entry of the plan that is the first."""
    seen: set[str] = set()
    for entry in plan.files:
        excluded = {path for pattern in entry.excluded for path in matching(pattern)}
        for pattern in entry.patterns:
            for path in matching(pattern) - excluded - seen:
                seen.add(path)
                with suppress(OSError):
                    info = Path(path).stat() if plan.links else Path(path).lstat()
                    if stat.S_ISREG(info.st_mode):
                        yield info, path, entry
