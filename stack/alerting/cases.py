"""The rule tests of alerts/tests/: records in, alerts out. rule_tests.py runs them.

A file maps rules to cases. Every rule needs a case of each kind: `firing`, `quiet`, `empty` (no
records) and `boundary`, whose records lie exactly on the rule's edge: the number equals the
threshold, or, where the threshold is 0, a record is within a second of the time `edge` ago.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from stack.alerting import AlertError
from stack.alerting.rule_text import read_yaml, shown_path
from stack.alerting.rules import Rule
from stack.records.timestamps import format_time
from stack.settings import ROOT, Settings, read_layers, validate
from stack.settings.base import Section
from stack.settings.units import Duration, parse_duration

CASES = ROOT / "alerts" / "tests"
Kind = Literal["firing", "quiet", "empty", "boundary"]
KINDS: tuple[Kind, ...] = get_args(Kind)
EDGE = timedelta(seconds=1)


class Records(Section):
    """`count` records, created `ago` before the evaluation time, with further fields."""

    count: int = Field(default=1, ge=1, le=100_000)
    ago: Duration
    fields: dict[str, Any] = Field(default={})


class CaseText(Section):
    """A case as written in its file. `settings` override the shipped ones."""

    kind: Kind
    about: str = Field(min_length=1)
    records: tuple[Records, ...] = Field(default=(), strict=False)
    alerts: tuple[dict[str, str], ...] = Field(default=(), strict=False)
    edge: Duration | None = None
    settings: dict[str, Any] = Field(default={})


@dataclass(frozen=True)
class Case:
    """One case of one rule."""

    rule: str
    file: str
    text: CaseText

    @property
    def name(self) -> str:
        return f"{self.rule}: {self.text.kind}: {self.text.about}"

    def records(self, environment: str, at: datetime) -> Iterator[dict[str, Any]]:
        """The records as a service would have written them, in their own environment."""
        for group in self.text.records:
            made = at - parse_duration(group.ago)
            for number in range(group.count):
                moment = made - timedelta(microseconds=number)
                yield {
                    "timestamp": format_time(moment),
                    "message": "a record of a rule test",
                    "service_name": "erp-backend-api",
                    "environment": environment,
                    "host": "test-host",
                    **({} if "format" in group.fields else _LOGGED),
                    **group.fields,
                }


_LOGGED = {"level": "INFO", "logger_name": "tests"}


def shipped_settings(changes: Mapping[str, Any] | None = None) -> Settings:
    """The values of stack/settings.toml alone, overridden by `changes`. Raises AlertError."""
    settings = validate(read_layers({})[:1])
    for name, value in (changes or {}).items():
        section, _, key = name.partition(".")
        table = getattr(settings, section, None)
        if table is None or key not in type(table).model_fields:
            raise AlertError(f"settings: expected the name of a setting, got {name!r}")
        changed = type(table).model_validate({**table.model_dump(), key: value})
        settings = settings.model_copy(update={section: changed})
    return settings


def load_cases(folder: Path = CASES) -> tuple[Case, ...]:
    """Every case of every file. Raises AlertError with all problems."""
    cases: list[Case] = []
    problems: list[str] = []
    adapter = TypeAdapter(dict[str, tuple[CaseText, ...]])
    for path in sorted(folder.glob("*.y*ml")):
        shown = shown_path(path)
        try:
            document = read_yaml(path)
            content = adapter.validate_python(_lists_as_tuples(document))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problems.append(f"cannot read {shown}: {error}")
        except ValidationError as error:
            problems += [
                f"{shown}: {'.'.join(map(str, item['loc']))}: {item['msg']}, got {item['input']!r}"
                for item in error.errors()
            ]
        else:
            cases += [Case(rule, shown, text) for rule, texts in content.items() for text in texts]
    if problems:
        raise AlertError("\n".join(problems))
    return tuple(cases)


def missing_cases(rules: Sequence[Rule], cases: Sequence[Case]) -> dict[str, list[Kind]]:
    """The kinds of which a rule has no case, by rule."""
    existing = {(case.rule, case.text.kind) for case in cases}
    missing = {
        rule.name: [kind for kind in KINDS if (rule.name, kind) not in existing] for rule in rules
    }
    return {name: kinds for name, kinds in missing.items() if kinds}


def problem_with(case: Case, rule: Rule, values: Sequence[float]) -> str:
    """Why a case does not match its kind, or "". `values` are the query's numbers."""
    text = case.text
    fires = bool(text.alerts)
    expected = {
        "firing": "an alert" if not fires else "",
        "quiet": "no alert" if fires and not rule.text.always_fires else "",
        "empty": "no record" if text.records else "",
        "boundary": "" if _is_on_edge(text, rule, values) else _expected_edge(rule, values),
    }[text.kind]
    return f"{text.kind}: expected {expected}" if expected else ""


def _is_on_edge(text: CaseText, rule: Rule, values: Sequence[float]) -> bool:
    if text.edge:
        edge = parse_duration(text.edge)
        return any(abs(parse_duration(group.ago) - edge) <= EDGE for group in text.records)
    if rule.text.always_fires:
        return any(value == rule.threshold for value in values)
    return rule.threshold > 0 and any(abs(v - rule.threshold) < 1e-9 for v in values)


def _expected_edge(rule: Rule, values: Sequence[float]) -> str:
    if rule.threshold > 0 or rule.text.always_fires:
        return f"a number equal to the threshold {rule.threshold:g}, got {list(values)}"
    return "`edge` and a record within a second of it"


def _lists_as_tuples(document: Any) -> Any:
    if isinstance(document, Mapping):
        return {key: tuple(v) if isinstance(v, list) else v for key, v in document.items()}
    return document
