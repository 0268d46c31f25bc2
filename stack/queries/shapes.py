"""The shapes of queries that catalogue.py uses: counts, shares, largest values, whole records."""

from __future__ import annotations

from collections.abc import Sequence

from stack.common import quote
from stack.queries.language import (
    MESSAGE_OR_LINE,
    Condition,
    Filter,
    Query,
    Scope,
    Window,
    equals,
    group,
    present,
    stats,
)

EXCEPTIONS = present("exception_type")


def select_levels(where: Filter, levels: Sequence[str]) -> Filter:
    """The records of some levels; of all without any."""
    return where.narrow(equals("level", *levels)) if levels else where


def select_exceptions(scope: Scope, exception_type: str) -> Filter:
    """The records of a scope with an exception, of one type or of any."""
    chosen = (equals("exception_type", exception_type),) if exception_type else ()
    return Filter(scope, (EXCEPTIONS, *chosen))


def logql_range(where: Filter, window: Window) -> str:
    """LogQL's range vector of the records in a window."""
    return f"{where.logql()} [{window.length}]"


def count(
    name: str,
    where: Filter,
    window: Window,
    by: Sequence[str],
    limit: int = 0,
    rate: bool = False,
) -> Query:
    """The number of records, or their rate per second; the `limit` largest."""
    function, logsql_function = ("rate", "rate()") if rate else ("count_over_time", "count()")
    total = f"sum {group(by)}({function}({logql_range(where, window)}))"
    if not by:
        total = zero_logql(total, window)
    return Query(
        name,
        logql=limit_logql(total, limit),
        logsql=f"{where.logsql(window)} | {stats(by, f'{logsql_function} as value')}"
        + limit_logsql(limit, by),
        by=tuple(by),
    )


def count_events(
    name: str,
    scope: Scope,
    window: Window,
    events: Sequence[str],
    by: Sequence[str],
    limit: int = 0,
    named: bool = False,
) -> Query:
    """The number of records of some event types; with `named`, of those with the fields `by`."""
    has = map(present, by) if named else ()
    where = Filter(scope, (equals("event_type", *events), *has), tuple(by))
    return count(name, where, window, by, limit)


def share(
    name: str,
    where: Filter,
    part: Condition,
    window: Window,
    by: Sequence[str],
    at_least: int = 0,
) -> Query:
    """The records with `part` as a share of all, between 0 and 1."""
    whole = Filter(where.scope, where.conditions, tuple(by))
    with_part, total = logql_range(whole.narrow(part), window), logql_range(whole, window)
    logql = share_logql(with_part, total, by)
    guard = f"sum {group(by)}(count_over_time({total}))"
    return Query(
        name,
        logql=require_logql(logql, guard, at_least),
        logsql=f"{whole.logsql(window)} | {share_logsql(part.logsql(), by, at_least)}",
        by=tuple(by),
    )


def share_logql(part: str, whole: str, by: Sequence[str]) -> str:
    """A share that is 0 where nothing matches the part, which has no series then."""
    counts = [f"sum {group(by)}(count_over_time({source}))" for source in (part, whole)]
    return f"({counts[0]} or {counts[1]} * 0) / {counts[1]}"


def share_logsql(part: str, by: Sequence[str], at_least: int = 0) -> str:
    """The share of the records that match `part`, as LogsQL pipes."""
    counts = stats(by, f"count() if ({part}) as part", "count() as whole")
    enough = f">={at_least}" if at_least else ">0"
    return f"{counts} | filter whole:{enough} | math part / whole as value | delete part, whole"


def zero_logql(total: str, window: Window) -> str:
    """A single number that is 0 where nothing is counted, as in LogsQL, and not missing.

    So a missing number means that the query failed. Steps without records stay without a number.
    """
    return total if window.steps else f"({total} or vector(0))"


def require_logql(value: str, counted: str, at_least: int) -> str:
    """The value, if there are enough records for it to be significant."""
    return f"({value}) and ({counted} >= {at_least})" if at_least else value


def limit_logql(total: str, limit: int) -> str:
    """The `limit` largest values in LogQL; all for 0."""
    return f"topk({limit}, {total})" if limit else total


def limit_logsql(limit: int, by: Sequence[str]) -> str:
    """The pipe for the `limit` largest values in LogsQL, of equal ones always the same; or none."""
    return f" | first {limit} by ({', '.join(('value desc', *by))})" if limit else ""


def whole_records(name: str, where: Filter, readable: bool) -> Query:
    """The records of a filter."""
    query = Query(name, logql=where.logql(), logsql=where.logsql(), kind="records")
    return readable_records(query) if readable else query


def readable_records(query: Query) -> Query:
    """The same records with the message and the traceback instead of the line."""
    trace = "{{ if .stack_trace }}\n{{ .stack_trace }}{{ end }}"
    fields = ", ".join(f'{name}="{name}"' for name in ("message", "stack_trace"))
    return Query(
        query.name,
        logql=f"{query.logql} | json {fields} | line_format {quote(MESSAGE_OR_LINE + trace)}",
        logsql=f'{query.logsql} | format if (stack_trace:*) "<_msg>\\n<stack_trace>" as _msg',
        kind="records",
    )


def rename(query: Query, name: str) -> Query:
    """The same query with another name."""
    return Query(name, query.logql, query.logsql, query.by, query.kind)
