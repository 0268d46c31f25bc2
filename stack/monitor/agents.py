"""What agents accept, send, refuse and keep in their queues, for each destination."""

from __future__ import annotations

from collections.abc import Iterator

from stack.common.counted import counted
from stack.monitor import accounts, logs
from stack.monitor.disks import size, span
from stack.monitor.model import Observation, Problem, Value
from stack.monitor.view import View

FULL = 0.5  # share of its limit at which a queue is a problem, however old it is
REFUSED = {
    "unsendable_records": "the destination refused them for good",
    "unqueued_records": "the agent's queue was full",
}
"""Counters of records that are refused by name, and what they mean."""


def destinations(view: View) -> list[str]:
    """The destinations of the agent, as its metrics name them."""
    names: dict[str, None] = {}
    for field in ("queue_bytes", "sent_records", *REFUSED):
        names |= dict.fromkeys(view.samples.get(view.plan.agent, {}).get(field, {}))
    return list(names)


def look(view: View) -> Iterator[Observation]:
    """One observation of the agent, and one for each of its destinations."""
    agent = view.plan.agent
    if agent not in view.samples:
        return
    read: dict[str, Value] = {
        f"{field}_10m": round(view.history.increase(agent, field))
        for field in ("refused_records", "failed_records")
        if field in view.samples[agent]
    }
    known = destinations(view)
    if "accepted_records" in view.samples[agent]:
        read["accepted_records_10m"] = max(_accepted(view, name) for name in known or [""])
    yield Observation(agent, values=read)
    for destination in known:
        yield _destination(view, destination)


def _accepted(view: View, destination: str) -> int:
    agent = view.plan.agent
    names = accounts.receivers(view.samples[agent], destination)
    return round(sum(view.history.increase(agent, "accepted_records", name) for name in names))


def _destination(view: View, destination: str) -> Observation:
    agent, limits = view.plan.agent, view.plan.limits
    queue = view.value(agent, "queue_bytes", destination) or 0.0
    limit = view.value(agent, "queue_limit_bytes", destination) or 0.0
    age = accounts.queue_age(view, destination)
    silent = accounts.dropped_by_queue(view.history, agent, destination)
    refused = {field: round(view.history.increase(agent, field, destination)) for field in REFUSED}
    values: dict[str, Value] = {
        "sent_records_10m": round(view.history.increase(agent, "sent_records", destination)),
        "queue_bytes": round(queue),
        "queue_age_s": round(age),
        "dropped_records_10m": silent,
        **{f"{field}_10m": number for field, number in refused.items()},
    }
    problems = [
        Problem(
            "records_dropped",
            f"{counted(number, 'record was', 'records were')} dropped in ten minutes: "
            f"{REFUSED[field]}",
            next((line for _, line in _errors(view)), f"{field} of {agent}"),
            view.plan.show(agent),
        )
        for field, number in refused.items()
        if number
    ]
    if silent:
        problems.append(
            Problem(
                "records_dropped",
                f"{counted(silent, 'record was', 'records were')} accepted in ten minutes and "
                "neither sent nor refused: the queue could not read them back",
                f"accepted, sent and refused records of {agent} differ, its queue has "
                f"{queue:.0f} bytes",
                view.plan.show(agent),
            )
        )
    if age > limits.queue_s or (limit and queue > FULL * limit):
        cause = next((cause for cause, _ in _errors(view)), "the destination is slower than it")
        name = destination.partition("/")[2]  # of one log server among several
        receiver = f" for {name}" if name else ""
        problems.append(
            Problem(
                "queue_growing",
                f"records of up to {span(age)} wait in the queue of {agent}{receiver}: {cause}",
                f"{size(queue)} of {size(limit)} are used",
                view.plan.show(agent),
            )
        )
    elif queue and (found := next(_errors(view), None)):
        cause, line = found
        text = f"{agent} cannot deliver: {cause}"
        problems.append(Problem("delivery_failing", text, line, view.plan.show(agent)))
    return Observation(agent, destination, values, tuple(problems))


def _errors(view: View) -> Iterator[tuple[str, str]]:
    program = view.plan.program(view.plan.agent)
    for cause, line in logs.delivery_errors(program, view.plan, view.now) if program else ():
        yield cause, logs.message_of(line)
