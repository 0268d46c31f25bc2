"""What every probe gets: the plan, the time, the history with this look, states of the programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stack.monitor.history import History
from stack.monitor.metrics import Samples
from stack.monitor.plan import Plan


@dataclass(frozen=True)
class Exit:
    """An end that nobody asked for: when, in seconds since the epoch, and how."""

    moment: float
    how: str


@dataclass(frozen=True)
class Process:
    """One program now. `pid` is 0 while it does not run; `exits` are the newest last.

    `answer`: why its health check failed; empty: it passed, or there is none.
    """

    pid: int = 0
    since: float = 0.0
    exits: tuple[Exit, ...] = ()
    answer: str = ""
    stopped: bool = False


@dataclass(frozen=True)
class View:
    """One look. `samples` are the metrics read in it, by program."""

    plan: Plan
    now: float
    history: History
    samples: Mapping[str, Samples]
    processes: Mapping[str, Process]

    def value(self, program: str, field: str, label: str = "") -> float | None:
        """A metric in this look."""
        return self.samples.get(program, {}).get(field, {}).get(label)
