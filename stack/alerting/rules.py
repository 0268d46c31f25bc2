"""Reads and validates the rule files of alerts/rules/.

A rule names a query, a threshold and the texts of the alert. `load_rules` returns the rules with
the thresholds and overrides of the settings; it reports all problems at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stack.alerting import AlertError
from stack.alerting.rule_text import (
    RuleText,
    Setting,
    read_rule_file,
    read_rule_files,
    runbook_headings,
)
from stack.common import suggest
from stack.queries import alert_rules as alert_queries
from stack.queries import catalogue as queries
from stack.queries import health, trends
from stack.queries import where as where_queries
from stack.queries.language import Query, QueryError, Scope, over
from stack.settings import ROOT, Settings, setting_keys
from stack.settings.alerts import Severity
from stack.settings.targets import Target
from stack.settings.units import Duration

RULES = ROOT / "alerts" / "rules"
RUNBOOKS = ROOT / "alerts" / "runbooks.md"

QueryFunction = Callable[..., Query]


@dataclass(frozen=True)
class Rule:
    """One alert rule, with the values of one environment. `query(scope)` builds its query.

    `hosts`: those whose records count; empty: all.
    """

    file: str
    text: RuleText
    severity: Severity
    hold: Duration
    window: Duration
    operator: str
    threshold: float
    arguments: Mapping[str, Any]
    line_arguments: Mapping[str, Any]
    enabled: bool = True
    hosts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.text.name

    def query(self, environment: str) -> Query:
        """The query whose number is compared with the threshold."""
        return function_named(self.text.query)(
            self._scope(environment), over(self.window), **self.arguments
        )

    def lines(self, environment: str) -> Query:
        """The records behind the alert."""
        return function_named(self.text.lines.query)(
            self._scope(environment), **self.line_arguments
        )

    def _scope(self, environment: str) -> Scope:
        services = (self.text.service,) if self.text.service else ()
        return Scope(environment, services, hosts=self.hosts)


def load_rules(
    settings: Settings,
    folder: Path = RULES,
    runbooks: Path = RUNBOOKS,
    *,
    with_disabled: bool = False,
) -> tuple[Rule, ...]:
    """The enabled rules, in the order of the files. Raises AlertError with all problems."""
    texts, problems = read_rule_files(folder)
    headings = runbook_headings(runbooks)
    problems += list(_cross_checks(texts, headings, settings))
    rules = _rules(texts, problems, settings)
    return tuple(rule for rule in rules if with_disabled or rule.enabled)


def load_rule_file(path: Path, settings: Settings) -> tuple[Rule, ...]:
    """The rules of one file, which may be anywhere and need no runbooks. Raises AlertError."""
    return _rules(*read_rule_file(path), settings)


def load_rules_for(target: Target, *, with_disabled: bool = False) -> tuple[Rule, ...]:
    """The rules that a runtime evaluates: those about the archiver only where one runs."""
    rules = load_rules(target.settings, with_disabled=with_disabled)
    return tuple(rule for rule in rules if target.has_archive or not rule.text.archiver)


def _rules(
    texts: Sequence[tuple[str, RuleText]], problems: Sequence[str], settings: Settings
) -> tuple[Rule, ...]:
    rules, found = [], list(problems)
    for file, text in texts:
        try:
            rules.append(_rule(file, text, settings))
        except AlertError as error:
            found.append(str(error))
    if found:
        raise AlertError("\n".join(found))
    return tuple(rules)


@cache
def query_functions() -> dict[str, QueryFunction]:
    """Every query that a rule can name."""
    return {
        name: function
        for module in (queries, alert_queries, health, trends, where_queries)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and next(iter(inspect.signature(function).parameters), "") == "scope"
    }


def function_named(name: str) -> QueryFunction:
    """The query that a rule names. Raises KeyError."""
    return query_functions()[name]


def _rule(file: str, text: RuleText, settings: Settings) -> Rule:
    """A rule with its settings filled in, its query built once. Raises AlertError."""
    where = f"{file}: rule {text.name}"
    override = settings.alerts.rules.get(text.name)
    threshold = text.above if text.above is not None else text.at_least
    arguments, line_arguments = (
        _value(f"{where}: {name}", values, settings)
        for name, values in (
            ("arguments", text.arguments),
            ("lines.arguments", text.lines.arguments),
        )
    )
    number = _value(f"{where}: threshold", threshold, settings)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise AlertError(f"{where}: threshold: expected a number, got {number!r}")
    rule = Rule(
        file=file,
        text=text,
        severity=(override and override.severity) or text.severity,
        hold=(override and override.hold) or text.hold,
        window=(override and override.window) or _value(f"{where}: window", text.window, settings),
        operator=">" if text.above is not None else ">=",
        threshold=float(number),
        arguments=arguments,
        line_arguments=line_arguments,
        enabled=text.enabled if override is None or override.enabled is None else override.enabled,
        hosts=_log_servers(settings) if text.log_servers else (),
    )
    _check_query(f"{where}: query", text.query, arguments, "metric", rule.query)
    _check_query(
        f"{where}: lines.query", text.lines.query, text.lines.arguments, "records", rule.lines
    )
    return rule


def _log_servers(settings: Settings) -> tuple[str, ...]:
    return tuple(name for name, host in settings.hosts.items() if "log_server" in host.roles)


def _check_query(
    where: str,
    name: str,
    arguments: Mapping[str, Any],
    kind: str,
    build: Callable[[str], Query],
) -> None:
    function = query_functions().get(name)
    if function is None:
        raise AlertError(
            f"{where}: expected a query of stack/queries/, "
            f"got {name!r}.{suggest(name, query_functions())}"
        )
    known = [
        parameter
        for parameter in inspect.signature(function).parameters
        if parameter not in ("scope", "window")
    ]
    if unknown := [argument for argument in arguments if argument not in known]:
        raise AlertError(
            f"{where}: {name}: expected arguments out of {', '.join(known) or '(none)'}, "
            f"got {', '.join(unknown)}"
        )
    try:
        query = build("environment")
    except (QueryError, TypeError, ValueError) as error:
        raise AlertError(f"{where}: {name}: {error}") from None
    if query.kind != kind:
        raise AlertError(f"{where}: {name}: expected a query for {kind}, got one for {query.kind}")


def _value(where: str, value: Any, settings: Settings) -> Any:
    """A value, with those of the settings that it names. Raises AlertError."""
    if isinstance(value, Mapping) and set(value) == {"setting"}:
        value = Setting(setting=str(value["setting"]))
    if isinstance(value, Mapping):
        return {name: _value(f"{where}.{name}", item, settings) for name, item in value.items()}
    if not isinstance(value, Setting):
        return value
    section, _, key = value.setting.partition(".")
    if value.setting not in setting_keys():
        raise AlertError(
            f"{where}: expected the name of a setting, got {value.setting!r}."
            f"{suggest(value.setting, setting_keys())}"
        )
    return getattr(getattr(settings, section), key)


def _cross_checks(
    texts: Sequence[tuple[str, RuleText]], headings: Sequence[str], settings: Settings
) -> Iterator[str]:
    """Problems between rules, and between rules, runbooks and settings."""
    seen: dict[str, str] = {}
    for file, text in texts:
        if text.name in seen:
            yield (
                f"{file}: rule {text.name}: name: expected a unique name, got one that is also in "
                f"{seen[text.name]}"
            )
        seen.setdefault(text.name, file)
        if text.runbook not in headings:
            yield (
                f"{file}: rule {text.name}: runbook: expected a heading of alerts/runbooks.md, "
                f"got {text.runbook!r}. Add a section `## {text.runbook}`"
            )
    for file, text in texts:
        for name in text.inhibits.alerts if text.inhibits else ():
            if name not in seen:
                yield (
                    f"{file}: rule {text.name}: inhibits: expected alerts, got {name!r}."
                    f"{suggest(name, seen)}"
                )
    for name in settings.alerts.rules:
        if name not in seen:
            yield (
                f"alerts.rules.{name}: expected the name of a rule, got {name!r}."
                f"{suggest(name, seen)}"
            )
