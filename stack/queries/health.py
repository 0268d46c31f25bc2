"""Queries of the monitor's records: what it measured, and the problems that it found.

Like those of catalogue.py, each is one query in every dialect. They read the records of the
monitor's own service, whichever services the scope has: others cannot write as that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stack.queries.language import Filter, Query, Scope, Window, equals, grouping, present, stats
from stack.queries.shapes import count, whole_records
from stack.records.contract import MONITOR_SERVICE

HEALTH = equals("event_type", "component_health")


def health_value(
    scope: Scope,
    window: Window,
    *,
    field: str,
    by: Sequence[str] = ("host", "component"),
    smallest: bool = False,
) -> Query:
    """The largest value that the monitor measured, or the smallest, per host and component."""
    where = Filter(_of_monitor(scope), (HEALTH, present(field)), tuple(by))
    function = "min" if smallest else "max"
    source = f'{where.logql()} | unwrap {field} | __error__="" [{window.length}]'
    return Query(
        "health_value",
        logql=f"{function}_over_time({source}) {grouping(by)}",
        logsql=f"{where.logsql(window)} | {stats(by, f'{function}({field}) as value')}",
        by=tuple(by),
    )


def problem_count(
    scope: Scope,
    window: Window,
    *,
    problems: Sequence[str] = (),
    by: Sequence[str] = ("host", "component"),
) -> Query:
    """Records of the monitor about some problems, or any, per host and component."""
    return count("problem_count", _problems(scope, problems), window, by)


def silent_services(scope: Scope, window: Window) -> Query:
    """Looks of the monitor at which a service was silent for longer than it may be, per service."""
    name = "watched_service"
    conditions = (HEALTH, equals("problem", "service_silent"), present(name))
    where = Filter(_of_monitor(scope), conditions, (name,))
    source = f"{where.logql()} | label_format service_name={name} [{window.length}]"
    return Query(
        "silent_services",
        logql=f"sum by (service_name) (count_over_time({source}))",
        logsql=f"{where.logsql(window)} | {stats((name,), 'count() as value')} "
        f"| rename {name} as service_name",
        by=("service_name",),
    )


def problem_records(scope: Scope, *, problems: Sequence[str] = (), readable: bool = False) -> Query:
    """Records of the monitor about some problems, or any."""
    return whole_records("problem_records", _problems(scope, problems), readable)


def _problems(scope: Scope, problems: Sequence[str]) -> Filter:
    chosen = equals("problem", *problems) if problems else present("problem")
    return Filter(_of_monitor(scope), (HEALTH, chosen))


def _of_monitor(scope: Scope) -> Scope:
    return replace(scope, services=(MONITOR_SERVICE,), organization_id="")
