"""The rules about what the monitor sees, as the alerts that it sends itself. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from stack.alerting.expressions import alert_rule
from stack.alerting.rules import Rule
from stack.engines.kinds import kind_of
from stack.monitor.alerts import OwnAlert
from stack.records.contract import MONITOR_SERVICE
from stack.settings.targets import Target
from stack.settings.units import parse_duration

# Of the annotations those that need no value of the engine.
TEXTS = ("summary", "description", "dashboard", "runbook")


def render_own_alerts(rules: Sequence[Rule], target: Target) -> str:
    """monitor/alerts.json."""
    own = [asdict(_own_alert(rule, target)) for rule in rules if _is_own(rule)]
    return json.dumps(own, indent=1, ensure_ascii=False) + "\n"


def _is_own(rule: Rule) -> bool:
    where = rule.text.where or {}
    return rule.text.service == MONITOR_SERVICE and set(where) == {"event_type", "problem"}


def _own_alert(rule: Rule, target: Target) -> OwnAlert:
    known = alert_rule(rule, target, kind_of(target.settings).dialect)
    problem = (rule.text.where or {})["problem"]
    return OwnAlert(
        problems=(problem,) if isinstance(problem, str) else tuple(problem),
        hold_s=parse_duration(known.hold).total_seconds(),
        labels={"alertname": known.name, **known.labels, "host": target.settings.host},
        annotations={name: known.annotations[name] for name in TEXTS if name in known.annotations},
    )
