"""Compares the rules that an engine reports with those of alerts/rules/."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stack.alerting import AlertError
from stack.alerting.http import ask
from stack.alerting.rule_files import names_and_expressions
from stack.alerting.rules import load_rules_for
from stack.common.counted import counted
from stack.engines.http import open_session
from stack.engines.kinds import kind_of
from stack.settings.targets import Target


@dataclass(frozen=True)
class LoadedRule:
    """One rule as the engine reports it. `state`: inactive, pending or firing."""

    name: str
    expression: str
    state: str
    error: str


def loaded_rules(target: Target) -> list[LoadedRule]:
    """Every alert rule that the rule evaluator has loaded. Raises AlertError."""
    engine = kind_of(target.settings)
    url = target.url(engine.evaluator, engine.rules)
    session = open_session(target.access) if target.access else None
    answer = ask("GET", url, engine.evaluator, session, headers=engine.headers)
    try:
        return parse_rules(answer.text)
    except (ValueError, KeyError, TypeError):
        raise AlertError(
            f"cannot read the loaded rules from {url}: unexpected response: {answer.text[:200]}"
        ) from None


def parse_rules(answer: str) -> list[LoadedRule]:
    """The alert rules in a response of Prometheus' rules API.

    Raises ValueError, KeyError or TypeError for anything else.
    """
    groups = json.loads(answer)["data"]["groups"]
    return [_loaded(rule) for group in groups for rule in group["rules"]]


def rule_differences(target: Target) -> list[str]:
    """How the loaded rules differ from alerts/rules/ with the settings in use.

    Loki rewrites expressions, so for Loki only the names are compared.
    """
    engine = kind_of(target.settings)
    try:
        rules = load_rules_for(target)
        reported = loaded_rules(target)
    except AlertError as error:
        return [str(error)]
    found = {rule.name: rule.expression for rule in reported}
    shipped = names_and_expressions(rules, target, engine.dialect)
    if not engine.reports_expressions:
        shipped, found = dict.fromkeys(shipped, ""), dict.fromkeys(found, "")
    return differences(shipped, found, len(reported))


def differences(shipped: Mapping[str, str], found: Mapping[str, str], count: int) -> list[str]:
    """Differences by name. `count`: the number of loaded rules, to notice duplicates."""
    missing = [name for name in shipped if name not in found]
    unknown = [name for name in found if name not in shipped]
    other = [name for name in shipped if name in found and found[name] != shipped[name]]
    problems = []
    if missing:
        problems.append(f"rules not loaded: {', '.join(missing)}")
    if unknown:
        problems.append(f"unknown rules are loaded: {', '.join(unknown)}")
    if other:
        problems.append(f"rules loaded with another expression: {', '.join(other)}")
    if not problems and count != len(shipped):
        problems.append(f"expected {counted(len(shipped), 'rule')}, got {count}")
    return [f"{problem}. Run: make up" for problem in problems]


def _loaded(rule: Mapping[str, Any]) -> LoadedRule:
    return LoadedRule(
        name=rule["name"],
        expression=rule["query"],
        state=rule.get("state") or "inactive",
        error=rule.get("lastError") or "",
    )
