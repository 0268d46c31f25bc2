"""Queries of rules that are written without Python: records by the values of their fields.

`where` maps fields to values, all of which a record must have:

    level: [ERROR, CRITICAL]            one of these
    service_name: billing               this one
    message: ~"could not connect"       contains a match of this regular expression (RE2)
    status: {at_least: 500}             a number of at least this
    logger_name: {not: django.request}  another one
    organization_id: '*'                any, but not none
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stack.queries.language import (
    Condition,
    Filter,
    Query,
    QueryError,
    Scope,
    Window,
    at_least,
    differs,
    equals,
    group,
    matches,
    present,
    stats,
)
from stack.queries.shapes import (
    count,
    logql_range,
    require_logql,
    share_logql,
    whole_records,
)

Where = Mapping[str, Any]
SERVICE = ("service_name",)
_LABELS = ("environment", "service_name")  # of every record
LIMIT = 200  # alerts of one rule
_EXPECTED = (
    "a value, a list of values, ~\"<regular expression>\", '*', {at_least: <number>} or "
    "{not: <value>}"
)


def count_where(
    scope: Scope, window: Window, *, where: Where, by: Sequence[str] = SERVICE
) -> Query:
    """The number of records, per service or by other fields, which the records must have."""
    chosen = filter_of(scope, where, by)
    total = count("count_where", chosen, window, by)
    if set(by) <= set(_LABELS):
        return total
    # Of equal numbers topk takes others each time, and alerts would fire and end: none is left out.
    least = f"min(topk({LIMIT}, {total.logql}))"
    return replace(
        count("count_where", chosen, window, by, LIMIT),
        logql=f"{total.logql} >= on () group_left () {least}",
    )


def share_where(
    scope: Scope,
    window: Window,
    *,
    where: Where,
    of: Where,
    by: Sequence[str] = SERVICE,
    at_least_records: int = 1,
) -> Query:
    """The records with `where` as a share of those with `of`, between 0 and 1.

    Without at least `at_least_records` of the latter there is no number.
    """
    whole = filter_of(scope, of, by)
    part = whole.narrow(*conditions(where))
    fields = tuple(item.field for item in conditions(where))
    ranges = [logql_range(Filter(scope, f.conditions, (*f.needs, *fields)), window)
              for f in (part, whole)]  # fmt: skip
    inside = " ".join(item.logsql() for item in conditions(where))
    return Query(
        "share_where",
        logql=require_logql(
            share_logql(ranges[0], ranges[1], by),
            f"sum {group(by)}(count_over_time({ranges[1]}))",
            at_least_records,
        ),
        logsql=f"{whole.logsql(window)} | "
        + stats(by, f"count() if ({inside}) as part", "count() as whole")
        + f" | filter whole:>={at_least_records} | math part / whole as value | delete part, whole",
        by=tuple(by),
    )


def records_where(scope: Scope, *, where: Where) -> Query:
    """The records themselves."""
    return whole_records("records_where", Filter(scope, conditions(where)), readable=False)


def conditions(where: Where) -> tuple[Condition, ...]:
    """The conditions that a record must meet. Raises QueryError."""
    return tuple(_condition(name, value) for name, value in where.items())


def _condition(field: str, value: Any) -> Condition:
    if isinstance(value, Mapping) and list(value) == ["at_least"] and _is_number(value["at_least"]):
        return at_least(field, float(value["at_least"]))
    if isinstance(value, Mapping) and list(value) == ["not"] and _is_plain(value["not"]):
        return differs(field, *_texts(value["not"]))
    if value == "*":
        return present(field)
    if isinstance(value, str) and value.startswith("~"):
        return matches(field, value[1:].strip().removeprefix('"').removesuffix('"'))
    if _is_plain(value):
        return equals(field, *_texts(value))
    raise QueryError(f"where.{field}: expected {_EXPECTED}, got {value!r}")


def filter_of(scope: Scope, where: Where, by: Sequence[str]) -> Filter:
    """The records with `where` and with values of the fields `by`. Raises QueryError."""
    named = tuple(present(name) for name in by if name not in (*where, *_LABELS))
    return Filter(scope, (*conditions(where), *named), tuple(by))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_plain(value: Any) -> bool:
    """Whether it is a text or number, or some of them."""
    items = value if isinstance(value, list | tuple) else [value]
    return bool(items) and all(isinstance(item, str | int | float) for item in items)


def _texts(value: Any) -> list[str]:
    items = value if isinstance(value, list | tuple) else [value]
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in items]
