"""Services that log no more: known from their records, silent for longer than they may be."""

from __future__ import annotations

import json
import shlex
import urllib.parse
import urllib.request
from collections.abc import Iterator

from stack.monitor import metrics
from stack.monitor.model import Observation, Problem
from stack.monitor.plan import Services
from stack.monitor.view import View

KNOWN = "services"  # the note with the names
SILENT = "silent_services"  # that with those that were silent at the last look
HEARD = "heard_since"  # since when the monitor's own records arrive
SUSPECTED = "suspected_services"  # since when others seem to be silent
MONITOR = "logstack-monitor"
HEARD_S = 120.0  # the longest time between two of them, of which any interval is shorter
# How far back services are searched when none is known yet.
FIRST_S = 7 * 86_400.0
OWN = "logstack-"  # the stack's own services: other problems and rules are about them
MOST = 10_000  # names that are remembered


def look(view: View) -> Iterator[Observation]:
    """One observation, with a note for each service that is silent; none without an answer.

    After an outage of the agent, the engine or the whole stack nobody knows whether a service has
    logged: none is newly silent before the monitor's own records have arrived for `silent_s`, nor
    before one of them has arrived that was written after the service fell silent.
    """
    plan, notes = view.plan.services, view.history.notes
    if plan is None or view.plan.engine not in view.samples:
        return
    try:
        recent = logged(plan, plan.silent_s)
        before = notes[KNOWN] if KNOWN in notes else logged(plan, FIRST_S)
        known = sorted({*before, *recent} - set(plan.retired))[:MOST]
        silent = list(_silent(plan, known, {plan.silent_s: recent}))
        arrives = MONITOR in _names(plan, min(HEARD_S, plan.silent_s))
        suspected = notes.get(SUSPECTED, {})
        since = {
            name: suspected.get(name, view.now)
            for name in silent
            if name not in notes.get(SILENT, ())
        }
        heard = {
            at: MONITOR in _names(plan, view.now - at) for at in set(since.values()) - {view.now}
        }
    except (OSError, ValueError, KeyError):
        return  # the engine does not answer: other probes say so
    heard_since = notes.get(HEARD, view.now) if arrives else view.now
    is_heard = view.now - heard_since >= plan.silent_s
    silent = [name for name in silent if name not in since or (is_heard and heard.get(since[name]))]
    notes.update({KNOWN: known, SILENT: silent, HEARD: heard_since, SUSPECTED: since})
    where = f"--env {view.plan.environment} " if view.plan.units else ""  # hosts have no checkout
    problems = tuple(
        Problem(
            "service_silent",
            f"{name} has stopped logging",
            f"no record within {plan.silent_after.get(name, plan.silent_s):g} s",
            f"./logstack logs {where}--since 1d --service {shlex.quote(name)}",
            service=name,
            note=True,
        )
        for name in silent
    )
    values = {"services": len(known), "silent_services": len(silent)}
    yield Observation(view.plan.engine, "services", values, problems)


def _silent(plan: Services, known: list[str], alive: dict[float, set[str]]) -> Iterator[str]:
    """The known services without a record in their time; `alive` has the answers so far.

    Raises OSError, ValueError, KeyError.
    """
    for name in known:
        length = plan.silent_after.get(name, plan.silent_s)
        if length not in alive:
            alive[length] = logged(plan, length)
        if name not in alive[length]:
            yield name


def logged(plan: Services, seconds: float, at: float | None = None) -> set[str]:
    """The services that logged within `seconds` before now, or before `at`, as applications do.

    Text counts only if it names its logger, as that of other programs in a host's journal does not.
    The stack's own are left out. Raises OSError, ValueError, KeyError.
    """
    return {name for name in _names(plan, seconds, at) if not name.startswith(OWN)}


def _names(plan: Services, seconds: float, at: float | None = None) -> set[str]:
    """The same with the stack's own."""
    query = plan.query.replace("WINDOW", f"{round(seconds * 1000)}ms")
    moment = {} if at is None else {"time": f"{at:.3f}"}
    request = urllib.request.Request(  # noqa: S310 -- the address is that of the plan
        plan.url,
        data=urllib.parse.urlencode({"query": query, **moment}).encode(),
        headers=dict(plan.headers),
    )
    with metrics.OPENER.open(request, timeout=plan.timeout_s) as answer:
        rows = json.load(answer)["data"]["result"]
    return {str(row["metric"].get("service_name", "")) for row in rows} - {""}
