"""Sends Alertmanager what the monitor sees, as the alerts that the rules make of its records.

Rules see only what the engine has taken: without this no channel would be notified of an engine or
an agent that does not work before it works again. An alert of both is one: its labels agree.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.monitor.model import Observation
from stack.monitor.notifications import ALERTMANAGER, LEAST_S, LOOKS, Alert, send
from stack.monitor.view import View

FILE = "alerts.json"
NOTE = "problems"  # the note with the time since when each lasts
COMPONENT = "component"
_LABEL = re.compile(r"\{\{ *\$labels\.(\w+) *\}\}")


@dataclass(frozen=True)
class OwnAlert:
    """The alert of a rule about `problems`, once they last for `hold_s`.

    `annotations` may contain `{{ $labels.NAME }}`. The label `component` is added.
    """

    problems: tuple[str, ...]
    hold_s: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def read_alerts(folder: Path) -> tuple[OwnAlert, ...]:
    """Those in the folder of the plan; none where Alertmanager is on another host.

    Raises OSError, and ValueError for another file.
    """
    path = folder / FILE
    if not path.exists():
        return ()
    try:
        items: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return tuple(OwnAlert(**{**item, "problems": tuple(item["problems"])}) for item in items)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected alerts, got {error}") from None


def tell(alerts: Iterable[OwnAlert], view: View, found: Iterable[Observation]) -> list[Alert]:
    """Send those whose problems last. Returns them. Raises OSError."""
    program = view.plan.program(ALERTMANAGER)
    if program is None or ALERTMANAGER not in view.samples:
        return []
    before: dict[str, float] = view.history.notes.get(NOTE, {})
    lasting: dict[str, float] = {}
    sent = []
    seen = list(found)
    for alert in alerts:
        for component, texts in _problems(alert, seen).items():
            key = f"{alert.labels['alertname']} {component}"
            lasting[key] = since = before.get(key, view.now)
            if view.now - since >= alert.hold_s:
                sent.append(_filled(alert, component, texts, since + alert.hold_s))
    view.history.notes[NOTE] = lasting
    for item in sent:
        item["until"] = time.time() + max(LEAST_S, LOOKS * view.plan.interval_s)
        send(program.metrics.removesuffix("/metrics"), item)
    return sent


def _problems(alert: OwnAlert, seen: Iterable[Observation]) -> dict[str, list[str]]:
    """The causes of an alert by component."""
    found: dict[str, list[str]] = {}
    for item in seen:
        for problem in item.problems:
            if problem.name in alert.problems:
                found.setdefault(item.component, []).append(problem.cause)
    return found


def _filled(alert: OwnAlert, component: str, texts: list[str], began: float) -> Alert:
    labels = {**alert.labels, COMPONENT: component}
    annotations = {
        name: _LABEL.sub(lambda label: labels.get(label[1], ""), text)
        for name, text in alert.annotations.items()
    }
    return {
        "labels": labels,
        "annotations": {**annotations, "samples": "\n".join(texts)},
        "startsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "generatorURL": "",
    }
