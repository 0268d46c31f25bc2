"""Whether notifications are delivered, and that none is lost while they are not.

Alertmanager forgets an alert that ends while its receiver is down, and all of them when it
restarts: nobody would learn of the first, nor that the others have ended. The monitor
remembers the alerts that it has seen and sends such an alert again for a moment.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

from stack.common.counted import counted
from stack.monitor import logs, metrics
from stack.monitor.model import Observation, Problem
from stack.monitor.view import View

ALERTMANAGER = "alertmanager"
# An alert that is sent again ends after so many looks without another; it takes one to be seen.
# The least is longer than a look takes on a busy machine: between two, it would end and fire again.
LOOKS, LEAST_S = 3, 30.0
# For how long an alert is kept whose receiver does not work.
MOST_S = 6 * 3600
ALERTS = "/api/v2/alerts?active=true&silenced=true&inhibited=true"
Alert = dict[str, Any]


def look(view: View) -> Iterator[Observation]:
    """One observation per channel that was used."""
    show = view.plan.show(ALERTMANAGER)
    for channel in view.samples.get(ALERTMANAGER, {}).get("notifications", {}):
        tried = round(view.history.increase(ALERTMANAGER, "notifications", channel))
        failed = round(view.history.increase(ALERTMANAGER, "notifications_failed", channel))
        if channel.startswith("test-"):  # the command that sends a test prints its result
            continue
        if not tried and not view.value(ALERTMANAGER, "notifications", channel):
            continue
        problems: tuple[Problem, ...] = ()
        if failed:
            receiver, _, name = channel.partition("/")
            count = f"{failed} of {counted(tried, 'notification')}"
            text = f"{count} by {name} ({receiver}) failed in ten minutes"
            problems = (Problem("notifications_failing", text, _reason(view, channel), show),)
        values = {"notifications_10m": tried, "notifications_failed_10m": failed}
        yield Observation(ALERTMANAGER, channel, values, problems)


def failing(view: View) -> set[str]:
    """The receivers with a channel that fails.

    It fails from a failure until a success, and as long as Alertmanager may wait before it tries
    again what has failed.
    """
    known: dict[str, list[float]] = view.history.notes.setdefault("channels", {})
    for channel in view.samples.get(ALERTMANAGER, {}).get("notifications", {}):
        tried, failed = (
            _last_step(view, field, channel) for field in ("notifications", "notifications_failed")
        )
        failure, success = known.get(channel, [0.0, 0.0])
        failure = view.now if failed else failure
        success = view.now if tried > failed else success
        known[channel] = [failure, success]
    return {
        channel.partition("/")[0]
        for channel, (failure, success) in known.items()
        if failure and (success < failure or view.now - failure < view.plan.limits.group_s)
    }


def keep_alerts(view: View) -> list[Alert]:
    """Remember the alerts that are active, and send those again that have to end, or to be told.

    Returns what was sent. Raises OSError where Alertmanager does not answer.
    """
    program = view.plan.program(ALERTMANAGER)
    if program is None or ALERTMANAGER not in view.samples:
        return []
    base = program.metrics.removesuffix("/metrics")
    active = {item["fingerprint"]: item for item in json.loads(metrics.fetch(f"{base}{ALERTS}"))}
    broken = failing(view)
    notes = view.history.notes
    if _has_restarted(view):
        notes["settles_until"] = view.now + view.plan.limits.settle_s
    settling = view.now < notes.get("settles_until", 0.0)
    remembered: dict[str, Alert] = notes.get("alerts", {})
    kept: dict[str, Alert] = {
        name: _essence(item, view.now)
        for name, item in active.items()
        if not _is_ours(item, remembered.get(name))
    }
    again = {
        name: alert
        for name, alert in remembered.items()
        if name not in kept and (settling or _is_untold(alert, broken, view.now))
    }
    for alert in again.values():
        # From now on: a look on a busy machine takes its time, and what has ended is not sent on.
        alert["until"] = time.time() + max(LEAST_S, LOOKS * view.plan.interval_s)
        send(base, alert)
    notes["alerts"] = {**kept, **again}
    return list(again.values())


def _has_restarted(view: View) -> bool:
    """Whether a program that knows of alerts in its memory alone was started since the last look.

    An engine that evaluates the rules itself asks the past.
    """
    known: dict[str, float] = view.history.notes.setdefault("started", {})
    now = {name: view.value(name, "started_s") for name in (ALERTMANAGER, view.plan.evaluator)}
    found = {name: value for name, value in now.items() if value is not None}
    restarted = any(known.get(name, value) + 2 < value for name, value in found.items())
    known.update(found)
    return restarted


def _is_untold(alert: Alert, broken: set[str], now: float) -> bool:
    """Whether one of its receivers may not have been told of an alert."""
    return not broken.isdisjoint(alert["receivers"]) and now - alert["seen"] < MOST_S


def _is_ours(active: Alert, remembered: Alert | None) -> bool:
    """Whether an active alert is only what was sent again."""
    return remembered is not None and _ends(active) <= remembered["until"] + 1


def _ends(alert: Alert) -> float:
    """When an alert ends unless it is sent again."""
    return logs.seconds(alert["endsAt"])


def _essence(item: Alert, now: float) -> Alert:
    """What is remembered of an alert that was active now."""
    return {
        "labels": item["labels"],
        "annotations": item["annotations"],
        "startsAt": item["startsAt"],
        "generatorURL": item.get("generatorURL", ""),
        "receivers": [receiver["name"] for receiver in item["receivers"]],
        "seen": now,
        "until": 0.0,
    }


def send(base: str, alert: Alert) -> None:
    """Send an alert that ends at its `until` to Alertmanager at an address. Raises OSError."""
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(alert["until"]))
    names = ("labels", "annotations", "startsAt", "generatorURL")
    body = json.dumps([{**{name: alert[name] for name in names}, "endsAt": ends}])
    request = urllib.request.Request(  # noqa: S310 -- the address is that of the plan
        f"{base}/api/v2/alerts",
        data=body.encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    with metrics.OPENER.open(request, timeout=metrics.TIMEOUT):
        pass


def _last_step(view: View, field: str, channel: str) -> float:
    """By how much a counter grew since the look before."""
    values = [value for _, value in view.history.series(ALERTMANAGER, field, channel)]
    if not values:
        return 0.0
    before = values[-2] if len(values) > 1 else 0.0
    return values[-1] - before if values[-1] >= before else values[-1]


def _reason(view: View, channel: str) -> str:
    """Why a notification failed, from Alertmanager's log."""
    program = view.plan.program(ALERTMANAGER)
    for line in reversed(logs.lines_of(program, view.plan)) if program else ():
        if channel.partition("/")[0] in line and ('"err"' in line or "err=" in line):
            values: Mapping[str, Any] = _fields(line)
            return str(values.get("err") or logs.message_of(line))[: logs.MOST]
    return "alertmanager_notification_requests_failed_total grows"


def _fields(line: str) -> Mapping[str, Any]:
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
