"""Reads and validates the rule files of alerts/rules/.

A rule names a query, a threshold and the texts of the alert. `load_rules` returns the rules with
the thresholds and overrides of the settings; it reports all problems at once.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from stack.alerting import AlertError
from stack.common import suggest
from stack.queries import alert_rules as alert_queries
from stack.queries import catalogue as queries
from stack.queries.language import Query, QueryError, Scope, over
from stack.settings import ROOT, Settings, setting_keys
from stack.settings.alerts import SEVERITIES, Severity
from stack.settings.base import Section
from stack.settings.targets import Target
from stack.settings.units import Duration, parse_duration

RULES = ROOT / "alerts" / "rules"
RUNBOOKS = ROOT / "alerts" / "runbooks.md"
_DURATION = "a duration such as 30s, 5m or 1d"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the first is faster

QueryFunction = Callable[..., Query]


class Setting(Section):
    """`{setting: thresholds.error_ratio}` instead of a value."""

    setting: str


class Lines(Section):
    """The query for the records behind an alert."""

    query: str = "records"
    arguments: dict[str, Any] = Field(default={})


class Inhibits(Section):
    """Alerts that are not sent while this one fires, for the same values of `equal`."""

    alerts: tuple[str, ...] = Field(strict=False, min_length=1)
    equal: tuple[str, ...] = Field(strict=False, min_length=1)


class RuleText(Section):
    """A rule as written in its file."""

    name: str = Field(pattern=r"^[A-Z][A-Za-z0-9]{2,63}$")
    query: str
    arguments: dict[str, Any] = Field(default={})
    window: str | Setting
    above: float | Setting | None = None
    at_least: float | Setting | None = None
    hold: Duration = Field(alias="for")
    severity: Severity
    summary: str = Field(min_length=1)
    description: str = Field(min_length=1)
    dashboard: str = Field(pattern=r"^[a-z0-9-]{1,40}$")
    runbook: str
    lines: Lines = Field(default=Lines())
    samples: bool = True
    always_fires: bool = False
    scans: bool = False  # reads whole texts or a week: evaluated every alerts.scan_interval
    archiver: bool = False  # only where an archiver runs
    log_servers: bool = False  # of hosts, only the records of log servers count
    service: str = ""  # only records of this service of the stack count
    inhibits: Inhibits | None = None

    @field_validator("window", mode="before")
    @classmethod
    def _length(cls, value: object) -> object:
        if isinstance(value, Mapping):
            return Setting.model_validate(value)
        if not isinstance(value, str):
            raise ValueError(_DURATION)
        parse_duration(value)
        return value

    @field_validator("above", "at_least", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        if isinstance(value, Mapping):
            return Setting.model_validate(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("a number or {setting: thresholds.<name>}")
        return float(value)

    @model_validator(mode="after")
    def _one_threshold(self) -> RuleText:
        if (self.above is None) == (self.at_least is None):
            raise ValueError("exactly one of above and at_least")
        return self


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
            self._scope(environment), **self.text.lines.arguments
        )

    def _scope(self, environment: str) -> Scope:
        services = (self.text.service,) if self.text.service else ()
        return Scope(environment, services, hosts=self.hosts)


def load_rules(
    settings: Settings, folder: Path = RULES, runbooks: Path = RUNBOOKS
) -> tuple[Rule, ...]:
    """Every enabled rule, in the order of the files. Raises AlertError with all problems."""
    texts, problems = read_rule_files(folder)
    headings = runbook_headings(runbooks)
    problems += list(_cross_checks(texts, headings, settings))
    rules = []
    for file, text in texts:
        try:
            rules.append(_rule(file, text, settings))
        except AlertError as error:
            problems.append(str(error))
    if problems:
        raise AlertError("\n".join(problems))
    return tuple(rule for rule in rules if _is_enabled(rule.name, settings))


def load_rules_for(target: Target) -> tuple[Rule, ...]:
    """The rules that a runtime evaluates: those about the archiver only where one runs."""
    rules = load_rules(target.settings)
    return tuple(rule for rule in rules if target.has_archive or not rule.text.archiver)


def read_rule_files(folder: Path) -> tuple[list[tuple[str, RuleText]], list[str]]:
    """The valid rules, each with its file, and the problems of the others."""
    texts: list[tuple[str, RuleText]] = []
    problems: list[str] = []
    paths = sorted(folder.glob("*.y*ml"))
    if not paths:
        problems.append(f"{shown_path(folder)}: expected at least one rule file, got none")
    for path in paths:
        shown = shown_path(path)
        try:
            document = read_yaml(path)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problems.append(f"cannot read {shown}: {error}")
            continue
        if not (isinstance(document, Mapping) and list(document) == ["rules"]):
            problems.append(f"{shown}: expected one key, `rules`, with a list of rules")
            continue
        for number, entry in enumerate(document["rules"] or (), start=1):
            try:
                texts.append((shown, RuleText.model_validate(entry)))
            except ValidationError as error:
                name = entry.get("name") if isinstance(entry, Mapping) else None
                where = f"{shown}: rule {name or f'number {number}'}"
                problems += [_explain(where, item) for item in error.errors()]
    return texts, problems


def read_yaml(path: Path) -> Any:
    """The document in a file. Raises OSError, UnicodeDecodeError or yaml.YAMLError."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506 -- a safe one


def runbook_headings(path: Path) -> list[str]:
    """The alerts that have a runbook: its headings of level 2. Raises AlertError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise AlertError(f"cannot read {shown_path(path)}: {error.strerror}") from None
    return re.findall(r"(?m)^## (\S+)\s*$", text)


@cache
def query_functions() -> dict[str, QueryFunction]:
    """Every query that a rule can name."""
    return {
        name: function
        for module in (queries, alert_queries)
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
    arguments = {
        name: _value(f"{where}: arguments.{name}", value, settings)
        for name, value in text.arguments.items()
    }
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
    """A value, or that of the setting it names. Raises AlertError."""
    if isinstance(value, Mapping) and set(value) == {"setting"}:
        value = Setting(setting=str(value["setting"]))
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


def _is_enabled(name: str, settings: Settings) -> bool:
    override = settings.alerts.rules.get(name)
    return override is None or override.enabled


def _explain(where: str, item: Any) -> str:
    """One problem of a rule: the key, the expected value and the actual one."""
    key = ".".join(str(part) for part in item["loc"])
    got = repr(item["input"])
    if item["type"] == "missing":
        got = "none"
    elif isinstance(item["input"], Mapping):
        got = ", ".join(map(str, item["input"])) or "none"
    return f"{where}: {key + ': ' if key else ''}expected {_expected(key, item)}, got {got}"


def _expected(key: str, item: Any) -> str:
    if key.endswith("severity"):
        return f"one of {', '.join(SEVERITIES)}"
    if key in ("for", "window"):
        return _DURATION
    if item["type"] == "extra_forbidden":
        return f"only the keys {', '.join(_keys())}"
    if item["type"] == "missing":
        return "a value"
    if item["type"] == "string_pattern_mismatch":
        return f"text of the form {item['ctx']['pattern']}"
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    return str(item["msg"]).removeprefix("Input should be ")


def _keys() -> list[str]:
    return [field.alias or name for name, field in RuleText.model_fields.items()]


def shown_path(path: Path) -> str:
    """A path as shown in messages: relative to the checkout if it is inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
