"""Records in = records stored + records refused by name; what is missing was lost silently.

Counters are read one after the other while records flow, so that a difference is known only within
bounds. `lost` compares the lower bound of now with upper bounds of before: a number that is not 0
is a loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stack.monitor.history import History
from stack.monitor.view import View

# A record takes more bytes than this in a queue.
LEAST_RECORD = 64
# The name among the samples of what counts() adds.
ACCOUNT = "account"
SAME = 1e-6

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


def dropped_by_queue(history: History, agent: str, destination: str) -> int:
    """Records that the agent accepted, and neither sent nor refused nor has in its queue."""
    return lost(list(_queue_bounds(history, agent, destination)))


def _queue_bounds(history: History, agent: str, destination: str) -> Iterator[Bounds]:
    """Since the agent's last start, before which its queue may have been filled."""
    found: list[Bounds] = []
    uptime = 0.0
    for moment, samples in history.looks:
        mine = samples.get(agent, {})
        if "accepted_records" not in mine:
            continue
        now = mine.get("uptime_s", {}).get("", uptime + 1)
        if now < uptime:
            found = []
        uptime = now
        away = sum(
            mine.get(field, {}).get(destination, 0.0)
            for field in ("sent_records", "unsendable_records", "unqueued_records")
        )
        missing = mine["accepted_records"].get("", 0.0) - away
        queue = mine.get("queue_bytes", {}).get(destination, 0.0)
        found.append((moment, missing - queue / LEAST_RECORD, missing))
    yield from found


def queue_age(view: View, destination: str) -> float:
    """How long the oldest record has been in the queue, in seconds, as far as looks can tell.

    Everything that was accepted until a look has left the queue when as many were sent since; what
    was in the queue at the agent's start is as old as the agent.
    """
    agent = view.plan.agent
    if not view.value(agent, "queue_bytes", destination):
        return 0.0
    bounds = list(_queue_bounds(view.history, agent, destination))
    if not bounds:
        return 0.0
    base = max(bound[1] for bound in bounds)  # what is missing for another reason
    missing_now = bounds[-1][2]
    accepted = dict(view.history.series(agent, "accepted_records"))
    delivered = accepted.get(bounds[-1][0], 0.0) - missing_now
    since = [bound[0] for bound in bounds if accepted[bound[0]] - base <= delivered + SAME]
    began = max(since, default=bounds[0][0])
    return max(0.0, view.now - began)


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


def _grown(before: float, now: float) -> float:
    """By how much a counter grew, also when its program restarted."""
    return now - before if now >= before else now
