"""The rules as files: for vmalert and for Loki's ruler, from the same source. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from stack.alerting.expressions import AlertRule, alert_rule
from stack.alerting.rules import Rule
from stack.engines.kind import Dialect
from stack.settings.targets import Target
from stack.settings.units import go_duration, parse_duration

HEAD = "# Rendered from alerts/rules/ and the settings: change it there.\n"
# The column of a VictoriaLogs result, which vmalert would turn into a label.
_NO_LABEL = {"stats_result": ""}


def render_rules(rules: Sequence[Rule], target: Target, dialect: Dialect) -> str:
    """One file of groups, for the rule evaluator of this dialect."""
    interval = go_duration(target.settings.timing.alert_interval)
    is_vlogs = dialect == "logsql"
    labels = _NO_LABEL if is_vlogs else {}
    evaluation: dict[str, Any] = {}
    if is_vlogs:
        # Otherwise vmalert evaluates at the last whole interval, up to half a minute later.
        evaluation = {
            "eval_delay": go_duration(target.settings.alerts.delay),
            "eval_alignment": False,
        }
    groups = [
        {
            "name": name,
            **({"type": "vlogs"} if is_vlogs else {"interval": interval}),
            **({"interval": scan_interval(target)} if scans else {}),
            **evaluation,
            "rules": [_entry(alert_rule(rule, target, dialect), labels) for rule in members],
        }
        for (name, scans), members in grouped(rules).items()
    ]
    return HEAD + dump({"groups": groups})


def grouped(rules: Sequence[Rule]) -> dict[tuple[str, bool], list[Rule]]:
    """The rules by group name and whether it scans: one or two groups per file of alerts/rules/."""
    groups: dict[tuple[str, bool], list[Rule]] = {}
    for rule in rules:
        name = f"{Path(rule.file).stem}{'-scan' if rule.text.scans else ''}"
        groups.setdefault((name, rule.text.scans), []).append(rule)
    return groups


def scan_interval(target: Target) -> str:
    """The interval of expensive rules, which read whole texts or a week of records."""
    settings = target.settings
    slower = max(settings.timing.alert_interval, settings.alerts.scan_interval, key=parse_duration)
    return go_duration(slower)


def names_and_expressions(
    rules: Sequence[Rule], target: Target, dialect: Dialect
) -> dict[str, str]:
    """What an engine reports when it has loaded the rules."""
    return {rule.name: alert_rule(rule, target, dialect).expression for rule in rules}


def dump(document: Any) -> str:
    """YAML in the given order, without line breaks in long texts."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=10_000)


def _entry(rule: AlertRule, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "alert": rule.name,
        "expr": rule.expression,
        "for": go_duration(rule.hold),
        "labels": {**rule.labels, **labels},
        "annotations": rule.annotations,
    }
