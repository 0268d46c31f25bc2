"""One look at everything that a plan names."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from stack.monitor import (
    accounts,
    agents,
    disks,
    engines,
    files,
    metrics,
    network,
    notifications,
    processes,
    services,
    unread,
)
from stack.monitor.history import History
from stack.monitor.metrics import METRICS, Samples
from stack.monitor.model import Observation, merged
from stack.monitor.plan import Plan
from stack.monitor.view import View

# How long an engine takes to make records readable that it has accepted.
VISIBLE_S = 2.2
PROBES: tuple[Callable[[View], Iterator[Observation]], ...] = (
    processes.look,
    disks.look,
    files.look,
    unread.look,
    agents.look,
    engines.look,
    services.look,
    notifications.look,
    network.look,
)


def look(
    plan: Plan,
    history: History,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[View, list[Observation]]:
    """Read everything once, add it to the history, and say what there is to say."""
    samples = read_metrics(plan)
    first = _taken(plan, samples)
    if first is not None and plan.keeps:
        sleep(VISIBLE_S)
        samples |= read_metrics(_only(plan, plan.engine))
        later = _taken(plan, {**samples, **read_metrics(_only(plan, plan.agent))})
        if later is not None:
            samples[accounts.ACCOUNT] = {"first": {"": first}, "later": {"": max(first, later)}}
    moment = now()
    states = processes.read_processes(plan, history, samples, moment)
    history.add(moment, samples)
    view = View(plan, moment, history, samples, states)
    return view, merged(item for probe in PROBES for item in probe(view))


def read_metrics(plan: Plan) -> dict[str, Samples]:
    """The metrics of every program that answers."""
    found: dict[str, Samples] = {}
    for program in plan.programs:
        known = METRICS.get(program.name, ())
        if not known or not program.metrics:
            continue
        try:
            found[program.name] = metrics.parse(metrics.fetch(program.metrics), known)
        except (OSError, ValueError):
            continue
    return found


def _only(plan: Plan, name: str) -> Plan:
    return replace(plan, programs=tuple(p for p in plan.programs if p.name == name))


def _taken(plan: Plan, samples: dict[str, Samples]) -> float | None:
    """How many records the engine has taken: as its only agent counts, or as it counts itself."""
    if plan.sole_writer:
        program, field = plan.agent, "sent_records"
    else:
        program, field = plan.engine, "rows_taken"
    return sum(samples[program].get(field, {}).values()) if program in samples else None
