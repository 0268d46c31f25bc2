"""What a drill is, and how its outcome is measured."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import requests

from bench.drills.watch import QUICK, Names, Watch, watching
from stack.engines import Engine, EngineError, Selection
from stack.engines.factory import engine_of
from stack.runtimes.supervisor import Supervisor
from stack.settings import variable_name
from stack.settings.targets import Target
from tests.support.load import Writer, writing
from tests.support.native_stack import StackUnderTest, marker

# How long no further record may come before the rest counts as lost: while the agent's queue holds
# some or the agent does not answer, and while its queue is empty.
PATIENCE, IDLE = 180.0, 20.0
SETTLED = 2.0  # seconds of load before and after a fault


@dataclass(frozen=True)
class Outcome:
    """Numbers of records; `seconds` from the end of load and fault until the last one was found.

    `doctor` and `alert` are what named the fault; empty: nothing did.
    """

    sent: int
    stored: int
    doubled: int
    seconds: float
    note: str = ""
    doctor: str = ""
    alert: str = ""

    @property
    def lost(self) -> int:
        return self.sent - self.stored

    def named_by(self, watch: Watch) -> Outcome:
        """The same with what the watch has seen, once it has seen everything."""
        watch.finish()
        return replace(self, doctor=watch.doctor, alert=watch.alert)


Play = Callable[[Path, float, Names], Outcome]
"""Takes an empty folder, how long the fault lasts, in seconds, and what has to name it."""


@dataclass(frozen=True)
class Drill:
    """`play` lets it happen, `names` says it.

    `short` and `long` are these lengths; without a short one it is left out of the short form.
    `loses`: it is known to lose records, and README says so. `needs` is the reason why it cannot
    run on this machine; empty: it can.
    """

    name: str
    fault: str
    play: Play
    short: float | None
    long: float
    names: Names
    loses: bool = False
    needs: Callable[[], str] = lambda: ""

    def run(self, folder: Path, seconds: float) -> Outcome:
        """In an empty folder, for so many seconds."""
        return self.play(folder, seconds, self.names)

    def faults(self, outcome: Outcome) -> list[str]:
        """What an outcome lacks: records, and what has to name the fault."""
        lost = [f"{outcome.lost} records are lost"] if outcome.lost and not self.loses else []
        said = {"doctor": outcome.doctor, "alerts": outcome.alert}
        expected = {"doctor": self.names.doctor, "alerts": self.names.alert}
        return lost + [f"{n} did not say {expected[n]!r}" for n, text in said.items() if not text]


@dataclass
class Scene:
    """A running stack, its load, and the length of the fault."""

    stack: StackUnderTest
    writer: Writer
    seconds: float
    watch: Watch

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.stack.target)


@contextmanager
def native(folder: Path, variables: Mapping[tuple[str, str], str]) -> Iterator[StackUnderTest]:
    """A native stack that is started, and stopped at the end."""
    variables = {**QUICK, **variables}
    values = {variable_name(*key): text for key, text in variables.items()}
    stack = StackUnderTest(folder, values)
    try:
        stack.up()
        yield stack
    finally:
        stack.run("down")


def under_load(
    fault: Callable[[Scene], str | None],
    rate: int,
    size: int = 0,
    variables: Mapping[tuple[str, str], str] | None = None,
) -> Play:
    """A drill: the fault happens while `rate` records a second are written; it may return a note.

    `size` is how many bytes longer than usual a record is.
    """

    def play(folder: Path, seconds: float, names: Names) -> Outcome:
        mark = marker()
        with native(folder, variables or {}) as stack, watching(stack.target, names) as watch:
            with writing(stack.app_log, mark, rate, size) as writer:
                writer.wait_for(SETTLED)
                note = fault(Scene(stack, writer, seconds, watch)) or ""
                watch.broken = False
                writer.wait_for(SETTLED)
            outcome = measure(stack.target, mark, writer.written, note)
            if outcome.lost:
                note = f"{note} {queued(stack.target):,.0f} bytes are queued".strip()
            return replace(outcome, note=note).named_by(watch)

    return play


def queued(target: Target) -> float:
    """What the agent's queue holds, in bytes: records that are missing may be late, not lost.

    Infinity while the agent does not answer.
    """
    try:
        text = requests.get(target.url("otelcol_metrics", "/metrics"), timeout=30).text
    except requests.RequestException:
        return math.inf
    sizes = re.findall(r"(?m)^otelcol_exporter_queue_size{.*} (\S+)$", text)
    return sum(map(float, sizes))


def measure(target: Target, mark: str, sent: int, note: str = "") -> Outcome:
    """Wait until every record is found in the engine of a target, or no more come."""
    engine = engine_of(target)
    began = last = time.monotonic()
    stored, doubled = counts(engine, mark)
    while stored < sent and time.monotonic() < last + PATIENCE:
        time.sleep(0.2)
        before = stored
        stored, doubled = counts(engine, mark)
        last = last if stored == before else time.monotonic()
        if time.monotonic() > last + IDLE and not queued(target):
            break
    return Outcome(sent, stored, doubled, last - began, note)


def counts(engine: Engine, mark: str) -> tuple[int, int]:
    """The different records of a load, and how many there are beyond them; 0 without an answer."""
    now = datetime.now(UTC)
    when = Selection(since=now - timedelta(days=20), until=now + timedelta(days=2))
    text = f'mark:="{mark}" | stats count() as records, count_uniq(number) as different'
    try:
        (row,) = engine.query(text, when, limit=1)
    except EngineError:
        return 0, 0
    return int(row["different"]), int(row["records"]) - int(row["different"])
