"""The parts that queries are built from, each rendered as LogQL (Loki) and LogsQL (VictoriaLogs).

A field's placement in the contract decides how Loki queries it: labels in the stream selector,
metadata directly, all others by parsing the line. In VictoriaLogs all are fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from stack.common import quote
from stack.records.contract import fields
from stack.settings.units import parse_duration

Operator = Literal["=", "!=", ">=", "=~"]
Kind = Literal["metric", "records"]

# A length such as `5m`, or a variable that Grafana replaces with one.
LENGTH = re.compile(r"([0-9]+(ms|s|m|h|d|w))+|\$__(auto|interval|range)")
# A variable that Grafana replaces with the selected values; only as a whole value.
VARIABLE = re.compile(r"\$[a-z_]+")
MESSAGE = "message"
MESSAGE_OR_LINE = "{{ if .message }}{{ .message }}{{ else }}{{ __line__ }}{{ end }}"
# Names of labels in LogQL; LogsQL allows more.
FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class QueryError(ValueError):
    """A query cannot be built from an argument; the text says which and what is expected."""


@dataclass(frozen=True)
class Query:
    """One query in both dialects.

    A `metric` has one number per combination of the labels `by`; `records` are whole records.
    """

    name: str
    logql: str
    logsql: str
    by: tuple[str, ...] = ()
    kind: Kind = "metric"


@dataclass(frozen=True)
class Window:
    """The time range behind one number; made by `over` and `per_step`."""

    length: str
    steps: bool

    def __post_init__(self) -> None:
        if not LENGTH.fullmatch(self.length):
            raise QueryError(f"window: expected a duration such as 5m or 24h, got {self.length!r}")


def over(length: str) -> Window:
    """The last `length` before the moment of evaluation: for alert rules, tables and numbers."""
    return Window(length, steps=False)


def per_step(length: str) -> Window:
    """Each step of a range query, which must be `length` long: for charts over time."""
    return Window(length, steps=True)


@dataclass(frozen=True)
class Scope:
    """Records of one environment, of all or some services, of all organizations or one.

    `hosts`: only records of these hosts; a gateway sets the field `host` from the credential.
    """

    environment: str
    services: tuple[str, ...] = ()
    organization_id: str = ""
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.environment:
            raise QueryError("environment: expected a name, got nothing")


@dataclass(frozen=True)
class Condition:
    """`field` compared with a value; several values mean any of them, a number compares as one."""

    field: str
    operator: Operator
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        check_field(self.field)

    @property
    def placement(self) -> str:
        """The field's placement."""
        return placement(self.field)

    def logql(self) -> str:
        """The condition as LogQL's label filter."""
        if self.operator == ">=":
            return f"{self.field} >= {self.values[0]}"
        if self.operator == "=~":  # Loki compares the whole value
            return f"{self.field}=~{quote(f'(?s).*(?:{self.values[0]}).*')}"
        if len(self.values) == 1 and not _is_variable(self.values):
            return f"{self.field}{self.operator}{quote(self.values[0])}"
        operator = {"=": "=~", "!=": "!~"}[self.operator]
        return f"{self.field}{operator}{quote(_alternatives(self.values))}"

    def logsql(self) -> str:
        """The condition as LogsQL's filter."""
        field = "_msg" if self.field == MESSAGE else self.field
        if self.operator == ">=":
            return f"{field}:>={self.values[0]}"
        if self.operator == "=~":
            return f"{field}:~{quote(self.values[0])}"
        negation = "-" if self.operator == "!=" else ""
        if _is_variable(self.values):
            return f"{negation}{field}:in({self.values[0]})"
        if len(self.values) == 1:
            return f"{negation}{field}:={quote(self.values[0])}"
        return f"{negation}{field}:in({','.join(map(quote, self.values))})"


def equals(field: str, *values: str) -> Condition:
    """The field has one of the values."""
    return Condition(field, "=", values)


def present(field: str) -> Condition:
    """The field is not empty."""
    return Condition(field, "!=", ("",))


def differs(field: str, *values: str) -> Condition:
    """The field has none of the values."""
    return Condition(field, "!=", values)


def at_least(field: str, number: float) -> Condition:
    """The field is a number of at least `number`."""
    return Condition(field, ">=", (f"{number:g}",))


def matches(field: str, pattern: str) -> Condition:
    """The field contains a match of a regular expression (RE2). Raises QueryError."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise QueryError(
            f"{field}: expected a regular expression, got {pattern!r}: {error}"
        ) from None
    return Condition(field, "=~", (pattern,))


@dataclass(frozen=True)
class Filter:
    """The records of a scope that a query reads, and the fields that it needs."""

    scope: Scope
    conditions: tuple[Condition, ...] = ()
    needs: tuple[str, ...] = ()

    def narrow(self, *conditions: Condition) -> Filter:
        """This filter with further conditions."""
        return Filter(self.scope, (*self.conditions, *conditions), self.needs)

    def logql(self) -> str:
        """Selector and pipeline, which drops lines that cannot be parsed."""
        conditions = self._all_conditions()
        before = [c for c in conditions if c.placement == "metadata"]
        after = [c for c in conditions if c.placement == "line"]
        parsed = dict.fromkeys(
            name for name in (*(c.field for c in after), *self.needs) if placement(name) == "line"
        )
        stages = [condition.logql() for condition in before]
        if parsed:
            stages.append("json " + ", ".join(f'{name}="{name}"' for name in parsed))
            if MESSAGE in parsed:  # a line that is not JSON is a message
                stages += [
                    f"label_format message=`{MESSAGE_OR_LINE}`",
                    "drop __error__, __error_details__",
                ]
            stages += [condition.logql() for condition in after]
            stages.append('__error__=""')
        return " | ".join([self._logql_selector(conditions), *stages])

    def logsql(self, window: Window | None = None) -> str:
        """The filter, with the window's time range unless the query has steps."""
        scope = self.scope
        selector = [f"environment={quote(scope.environment)}"]
        if _is_variable(scope.services):
            selector.append(f"service_name in ({scope.services[0]})")
        elif scope.services:
            selector.append(f"service_name in ({','.join(map(quote, scope.services))})")
        if scope.hosts:
            selector.append(f"host in ({','.join(map(quote, scope.hosts))})")
        time = [f"_time:{window.length}"] if window and not window.steps else []
        conditions = [condition.logsql() for condition in self._all_conditions()]
        return " ".join([*time, f"{{{','.join(selector)}}}", *conditions])

    def _all_conditions(self) -> list[Condition]:
        own = self.scope.organization_id
        return [*([equals("organization_id", own)] if own else []), *self.conditions]

    def _logql_selector(self, conditions: Iterable[Condition]) -> str:
        matchers = [f"environment={quote(self.scope.environment)}"]
        if self.scope.services:
            services = Condition("service_name", "=", self.scope.services)
            matchers.append(services.logql())
        if self.scope.hosts:
            matchers.append(Condition("host", "=", self.scope.hosts).logql())
        matchers += [c.logql() for c in conditions if c.placement == "label"]
        return f"{{{','.join(matchers)}}}"


def sum_lengths(first: str, second: str) -> str:
    """The sum of two durations, in the spelling of both languages."""
    return f"{round((parse_duration(first) + parse_duration(second)).total_seconds() * 1000)}ms"


def placement(field: str) -> str:
    """Where Loki has the field; fields outside the contract are in the line."""
    known = fields().get(field)
    return known.placement if known else "line"


def check_field(name: str) -> None:
    """Raises QueryError unless the name is valid for a field in both languages."""
    if not FIELD.fullmatch(name):
        raise QueryError(f"field: expected a field such as logger_name, got {name!r}")


def grouping(by: Sequence[str]) -> str:
    """LogQL's grouping clause. An aggregation over time needs an empty one for a single number."""
    for name in by:
        check_field(name)
    return f"by ({', '.join(by)})"


def group(by: Sequence[str]) -> str:
    """The grouping clause of a sum, followed by a space; empty for a sum over all records."""
    return f"{grouping(by)} " if by else ""


def stats(by: Sequence[str], *functions: str) -> str:
    """LogsQL's stats pipe."""
    return f"stats {group(by)}{', '.join(functions)}"


def _alternatives(values: Sequence[str]) -> str:
    """A regular expression for any of the values; Grafana escapes the values of a variable."""
    return values[0] if _is_variable(values) else "|".join(map(escape, values))


def escape(text: str) -> str:
    """Text as a regular expression that matches only this text."""
    return re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", text)


def _is_variable(values: Sequence[str]) -> bool:
    return len(values) == 1 and VARIABLE.fullmatch(values[0]) is not None
