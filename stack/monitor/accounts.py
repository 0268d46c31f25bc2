"""Records in = records stored + records refused by name; what is missing was lost silently.

Counters are read one after the other while records flow, so that a difference is known only within
bounds. `lost` compares the lower bound of now with upper bounds of before: a number that is not 0
is a loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stack.monitor.history import History
from stack.monitor.metrics import Samples
from stack.monitor.view import View

# A record takes more bytes than this in a queue.
LEAST_RECORD = 64
# What Loki has less in memory after a start counts from this share on: it ignores repeated records,
# and what it stored after the last look need not be read back.
LEAST_SHARE = 0.01
# The name among the samples of what counts() adds.
ACCOUNT = "account"
# The counters of an agent of what has left its queue, with and without success.
LEAVING = ("sent_records", "unsendable_records", "unqueued_records")

Bounds = tuple[float, float, float]
"""A time, and the least and the most that can be missing then, apart from a constant."""


def lost(bounds: Sequence[Bounds]) -> int:
    """How much was lost between the first and the last of these.

    Two programs count at slightly different moments: a bound counts once the next look confirms it.
    """
    if len(bounds) < 3:
        return 0
    least = min(bounds[-1][1], bounds[-2][1])
    most = min(max(first[2], second[2]) for first, second in zip(bounds[:-1], bounds[1:-1]))
    return max(0, round(least - most))


@dataclass(frozen=True)
class Delivery:
    """What an agent had accepted for a destination at a moment, and what had left it."""

    moment: float
    accepted: float
    away: float
    queue_bytes: float

    @property
    def bounds(self) -> Bounds:
        """The records that are missing: in the queue, or lost."""
        most = self.accepted - self.away
        return self.moment, most - self.queue_bytes / LEAST_RECORD, most


def dropped_by_queue(history: History, agent: str, destination: str) -> int:
    """Records that the agent accepted, and neither sent nor refused nor has in its queue."""
    return lost([item.bounds for item in deliveries(history, agent, destination)])


def deliveries(history: History, agent: str, destination: str) -> list[Delivery]:
    """Since the agent's last start, before which its queue may have been filled."""
    found: list[Delivery] = []
    uptime = 0.0
    for moment, samples in history.looks:
        mine = samples.get(agent, {})
        if "accepted_records" not in mine:
            continue
        now = mine.get("uptime_s", {}).get("", uptime + 1)
        if now < uptime:
            found = []
        uptime = now
        accepted = sum(mine["accepted_records"][name] for name in receivers(mine, destination))
        away = sum(mine.get(field, {}).get(destination, 0.0) for field in LEAVING)
        queue = mine.get("queue_bytes", {}).get(destination, 0.0)
        found.append(Delivery(moment, accepted, away, queue))
    return found


def receivers(samples: Samples, destination: str) -> list[str]:
    """Those of one destination, which have its name at their end; all where none has."""
    known = list(samples.get("accepted_records", {}))
    name = destination.partition("/")[2]
    return [r for r in known if name and r.endswith((f"_{name}", f"/{name}"))] or known


def queue_age(view: View, destination: str) -> float:
    """How long the oldest record has been in the queue, in seconds, as far as looks can tell.

    Everything that was accepted until a look has left the queue when as many were sent since; what
    was in the queue at the agent's start is as old as the agent.
    """
    agent = view.plan.agent
    looks = deliveries(view.history, agent, destination)
    if not looks or not view.value(agent, "queue_bytes", destination):
        return 0.0
    lost_before = max(item.bounds[1] for item in looks)  # what is missing for another reason
    emptied = [item.moment for item in looks if item.accepted - lost_before <= looks[-1].away]
    return max(0.0, view.now - max(emptied, default=looks[0].moment))


def lost_by_engine(history: History, engine: str) -> int:
    """Records that the engine took and neither has nor dropped by name."""
    return lost(list(_engine_bounds(history, engine)))


def _engine_bounds(history: History, engine: str) -> Iterator[Bounds]:
    """Since the engine last deleted a day.

    The look has counted the records that the engine took once `first`, before it read how many are
    stored, and once `later`.
    """
    found: list[Bounds] = []
    taken = dropped = days = 0.0
    before: tuple[float, float] | None = None
    for moment, samples in history.looks:
        mine, counted = samples.get(engine, {}), samples.get(ACCOUNT, {})
        if "rows_stored" not in mine or "first" not in counted:
            continue
        now = (counted["first"][""], sum(mine.get("rows_dropped", {}).values()))
        last = before or now
        taken += _grown(last[0], now[0])
        dropped += _grown(last[1], now[1])
        before = now
        partitions = mine.get("days", {}).get("", 0.0)
        if partitions < days:
            found = []
        days = partitions
        least = taken - dropped - mine["rows_stored"][""]
        found.append((moment, least, least + counted["later"][""] - now[0]))
    yield from found


def lost_at_start(history: History, engine: str) -> int:
    """Records that the engine had in memory and did not read back from its write-ahead log.

    Loki says nothing of it where the log is damaged or ends early. It has read everything back once
    two looks agree.
    """
    lives: list[list[Samples]] = []
    for _, samples in history.looks:
        mine = samples.get(engine, {})
        if "rows_recovered" not in mine or "started_s" not in mine:
            continue
        if not lives or mine["started_s"][""] > lives[-1][-1]["started_s"][""] + 2:
            lives.append([])
        lives[-1].append(mine)
    missing = 0
    for before, after in zip(lives, lives[1:]):
        back = [mine["rows_recovered"][""] for mine in after[-2:]]
        kept = _in_memory(before[-1])
        if len(back) == 2 and back[0] == back[1] and kept - back[1] > LEAST_SHARE * kept:
            missing += round(kept - back[1])
    return missing


def _in_memory(mine: Samples) -> float:
    """How many records Loki has not stored yet."""
    taken, dropped, flushed = (
        sum(mine.get(field, {}).values())
        for field in ("rows_taken", "rows_dropped", "rows_flushed")
    )
    return mine["rows_recovered"][""] + taken - dropped - flushed


def _grown(before: float, now: float) -> float:
    """By how much a counter grew, also when its program restarted."""
    return now - before if now >= before else now
