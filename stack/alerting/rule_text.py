"""The rule files of alerts/rules/ as they are written: their keys, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from stack.alerting import AlertError
from stack.settings import ROOT
from stack.settings.alerts import SEVERITIES, Severity
from stack.settings.base import Section
from stack.settings.units import Duration, parse_duration

_DURATION = "a duration such as 30s, 5m or 1d"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the first is faster


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
    enabled: bool = True
    where: dict[str, Any] | None = None  # with these three, instead of a query
    of: dict[str, Any] | None = None
    by: tuple[str, ...] | None = Field(default=None, strict=False)
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

    @model_validator(mode="before")
    @classmethod
    def _query_of_where(cls, values: object) -> object:
        if not isinstance(values, Mapping) or "where" not in values:
            return values
        if "query" in values:
            raise ValueError("only one of where and query")
        own = {key: values[key] for key in ("where", "of", "by") if key in values}
        return {
            "lines": {"query": "records_where", "arguments": {"where": values["where"]}},
            **values,
            "query": "share_where" if "of" in values else "count_where",
            "arguments": {**own, **(values.get("arguments") or {})},
        }

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


def read_rule_files(folder: Path) -> tuple[list[tuple[str, RuleText]], list[str]]:
    """The valid rules, each with its file, and the problems of the others."""
    paths = sorted(folder.glob("*.y*ml"))
    texts: list[tuple[str, RuleText]] = []
    problems: list[str] = []
    if not paths:
        problems.append(f"{shown_path(folder)}: expected at least one rule file, got none")
    for path in paths:
        valid, invalid = read_rule_file(path)
        texts += valid
        problems += invalid
    return texts, problems


def read_rule_file(path: Path) -> tuple[list[tuple[str, RuleText]], list[str]]:
    """The valid rules of one file, each with its name, and the problems of the others."""
    shown = shown_path(path)
    try:
        document = read_yaml(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return [], [f"cannot read {shown}: {error}"]
    if not (isinstance(document, Mapping) and list(document) == ["rules"]):
        return [], [f"{shown}: expected one key, `rules`, with a list of rules"]
    texts: list[tuple[str, RuleText]] = []
    problems: list[str] = []
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
