"""Loaded means loaded: the rules that an engine reports are exactly those that were shipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from stack.alerting import AlertError
from stack.alerting.rule_files import names_and_expressions
from stack.alerting.rules import load_rules
from stack.targets import Target


@dataclass(frozen=True)
class LoadedRule:
    """One rule as the engine reports it. `state`: inactive, pending or firing."""

    name: str
    expression: str
    state: str
    error: str


def loaded_rules(url: str) -> list[LoadedRule]:
    """Every alert rule of the vmalert (or Loki's ruler) at `url`. Raises AlertError."""
    try:
        answer = requests.get(f"{url}/api/v1/rules", timeout=10)
        answer.raise_for_status()
        groups = answer.json()["data"]["groups"]
        return [_loaded(rule) for group in groups for rule in group["rules"]]
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        raise AlertError(
            f"{url}: wanted the rules that it has loaded, found: {error}. Type: ./logstack status"
        ) from None


def rule_differences(target: Target) -> list[str]:
    """How vmalert's rules differ from those of alerts/rules/ and the settings it runs with."""
    try:
        shipped = names_and_expressions(load_rules(target.settings), target, "logsql")
        found = loaded_rules(target.url("vmalert"))
    except AlertError as error:
        return [str(error)]
    return differences(shipped, {rule.name: rule.expression for rule in found}, len(found))


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
