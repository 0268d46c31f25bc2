"""What is sent of a file: the agent reads it, and its batches are kept on disk, each a frame.

Records that the engine does not accept are counted and left out.
"""

from __future__ import annotations

import os
from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import zstandard
from pydantic import BaseModel

from stack.common.counted import counted
from stack.records.timestamps import rfc3339
from stack.runtimes.history import HistoryError
from stack.runtimes.history.batches import Stamp, sift, stamps
from stack.runtimes.single_run import SingleRun, run_agent

FRAMES_FILE, PLAN_FILE = "frames.bin", "plan.json"
# The times that the agent leaves as they are; which of them are sent is decided afterwards.
ANY_TIME = timedelta(days=50 * 365)
# So many records are remembered to find the time for one without; a traceback that is joined waits
# less than a second for its end.
MOST_REMEMBERED = 200_000
# Bytes of batches without any time, after which a file counts as one without times.
MOST_UNTIMED = 16_000_000
OnRecords = Callable[[int], None]
"""Called with the number of records read so far."""


class Span(BaseModel):
    """How many records, and their first and last time, in nanoseconds since the epoch."""

    count: int = 0
    first: int = 0
    last: int = 0

    def add(self, time: int) -> None:
        self.first = min(self.first or time, time)
        self.last = max(self.last, time)
        self.count += 1

    @property
    def text(self) -> str:
        """`from T1 to T2`, or `of T1`."""
        ends = list(dict.fromkeys((rfc3339(self.first), rfc3339(self.last))))
        return f"from {ends[0]} to {ends[1]}" if len(ends) > 1 else f"of {ends[0]}"


class Frame(BaseModel):
    """One batch: where it is in the file of frames, and its records."""

    offset: int
    size: int
    span: Span


class Plan(BaseModel):
    """What is sent of a file, and what is not.

    `untimed` records are sent under the time of the record before them; `lost_time` records had one
    far out of any range.
    """

    lines: int
    frames: list[Frame] = []
    sent: Span = Span()
    old: Span = Span()
    ahead: Span = Span()
    untimed: int = 0
    lost_time: int = 0


@dataclass
class Planner:
    """Takes the agent's batches and writes the frames. Times in nanoseconds since the epoch."""

    file: Path
    lines: int
    oldest: int
    newest: int
    on_records: OnRecords
    plan: Plan = field(init=False)
    _read: int = 0
    _waiting: list[bytes] = field(default_factory=list)
    # When records with a time were read, and that time, in the order of reading.
    _timed: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plan = Plan(lines=self.lines)
        self.file.write_bytes(b"")

    def take(self, batch: bytes) -> None:
        """Add one batch. Raises UntimedError where no record has a time."""
        found = stamps(batch)
        self._read += len(found)
        self.on_records(self._read)
        self._timed += [(item.observed, item.time) for item in found if _is_timed(item)]
        self._timed.sort()
        self._waiting.append(batch)
        if self._timed:
            for item in self._waiting:
                self._write(item)
            self._waiting = []
        elif sum(map(len, self._waiting)) > MOST_UNTIMED:
            raise UntimedError(self._read)
        if len(self._timed) > 2 * MOST_REMEMBERED:
            del self._timed[:-MOST_REMEMBERED]

    def finish(self) -> Plan:
        """The plan, once the agent has sent everything."""
        if self._waiting:
            raise UntimedError(self._read)
        return self.plan

    def _write(self, batch: bytes) -> None:
        span = Span()
        kept = sift(batch, lambda stamp: self._decide(stamp, span))
        if not kept:
            return
        frame = zstandard.ZstdCompressor(level=3).compress(kept)
        with self.file.open("ab") as file:
            offset = file.tell()
            file.write(frame)
        self.plan.frames.append(Frame(offset=offset, size=len(frame), span=span))

    def _decide(self, stamp: Stamp, span: Span) -> int | None:
        plan = self.plan
        if stamp.replaced:
            plan.lost_time += 1
            return None
        time = stamp.time or self._time_before(stamp.observed)
        if time < self.oldest or time > self.newest:
            (plan.old if time < self.oldest else plan.ahead).add(time)
            return None
        plan.untimed += not stamp.time
        plan.sent.add(time)
        span.add(time)
        return time

    def _time_before(self, observed: int) -> int:
        """The time of the record that was read before; of the first with one where there is none.

        The agent hands a record of several lines on after records that it read later.
        """
        place = bisect(self._timed, (observed, 0))
        return self._timed[max(place - 1, 0)][1]


def _is_timed(stamp: Stamp) -> bool:
    return bool(stamp.time) and not stamp.replaced


class UntimedError(HistoryError):
    """No record of a file has a time of its own, of so many."""

    def __init__(self, records: int):
        super().__init__(records)
        self.records = records


def make_plan(run: SingleRun, lines: int, window: tuple[int, int], on_records: OnRecords) -> Plan:
    """Let the agent read `run.file`; the frames are in the run's folder.

    `window`: the oldest and the newest time that the engine accepts. Raises HistoryError,
    AgentError.
    """
    planner = Planner(run.folder / FRAMES_FILE, lines, *window, on_records)
    try:
        run_agent(run, planner.take)
        plan = planner.finish()
    except UntimedError as error:
        raise HistoryError(
            f"cannot import {run.source.path}: none of its first "
            f"{counted(error.records, 'record')} has a "
            "time that the agent reads, and under the time of the import they would be found at "
            "the wrong place. Run: ./logstack explain --file with the same file"
        ) from None
    with planner.file.open("rb") as file:
        os.fsync(file.fileno())
    return plan


def read_frames(folder: Path, plan: Plan, first: int) -> Iterator[tuple[int, Frame, bytes]]:
    """Each frame from number `first` on, compressed as it is sent."""
    with (folder / FRAMES_FILE).open("rb") as file:
        for number, frame in enumerate(plan.frames[first:], first):
            file.seek(frame.offset)
            yield number, frame, file.read(frame.size)
