"""Loaded means loaded: the rules that an engine reports are exactly those that were shipped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stack.alerting import AlertError
from stack.alerting.http import ask
from stack.alerting.rule_files import names_and_expressions
from stack.alerting.rules import load_rules_for
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
    """Every alert rule that the engine's evaluator has loaded. Raises AlertError."""
    engine = kind_of(target.settings)
    url = target.url(engine.evaluator, engine.rules)
    answer = ask("GET", url, engine.evaluator, headers=engine.headers)
    try:
        return parse_rules(answer.text)
    except (ValueError, KeyError, TypeError):
        raise AlertError(
            f"{url}: wanted the rules that it has loaded, found: {answer.text[:200]}"
        ) from None


def parse_rules(answer: str) -> list[LoadedRule]:
    """The alert rules in an answer of Prometheus' rules API.

    Raises ValueError, KeyError or TypeError where it is something else.
    """
    groups = json.loads(answer)["data"]["groups"]
    return [_loaded(rule) for group in groups for rule in group["rules"]]


def rule_differences(target: Target) -> list[str]:
    """How the loaded rules differ from those of alerts/rules/ and the settings they run with.

    Loki reports expressions in its own spelling, so that only the names can be compared.
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
    """Name by name. `count`: how many rules were found, to notice one that is there twice."""
    missing = [name for name in shipped if name not in found]
    further = [name for name in found if name not in shipped]
    other = [name for name in shipped if name in found and found[name] != shipped[name]]
    problems = []
    if missing:
        problems.append(f"rules not loaded: {', '.join(missing)}")
    if further:
        problems.append(f"rules loaded that were not shipped: {', '.join(further)}")
    if other:
        problems.append(f"rules loaded with another expression: {', '.join(other)}")
    if not problems and count != len(shipped):
        problems.append(f"wanted {len(shipped)} rules, found {count}")
    return [f"{problem}. Type: make up" for problem in problems]


def _loaded(rule: Mapping[str, Any]) -> LoadedRule:
    return LoadedRule(
        name=rule["name"],
        expression=rule["query"],
        state=rule.get("state") or "inactive",
        error=rule.get("lastError") or "",
    )
