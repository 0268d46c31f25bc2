"""Panels that several pages show."""

from __future__ import annotations

from collections.abc import Callable

from dashboards.model import (
    WIDTH,
    BuildQuery,
    Panel,
    QueryContext,
    bars,
    chart,
    logs,
    number,
    table,
)
from stack.queries import catalogue as queries
from stack.queries.catalogue import ERROR_LEVELS
from stack.queries.language import Scope, Window

ScopeOf = Callable[[QueryContext], Scope]
# Percentiles of request durations, by the name that panels show.
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def errors(scope: ScopeOf) -> Panel:
    """The errors of a scope."""
    return logs(
        "Errors",
        "ERROR and CRITICAL records with their traceback, newest first.",
        lambda context: queries.records(scope(context), levels=ERROR_LEVELS, readable=True),
    )


def slowest_requests(scope: ScopeOf, height: int = 8) -> Panel:
    """The slowest requests of a scope."""
    return table(
        "Slowest requests",
        "Requests of 100 ms or more.",
        lambda context: queries.slowest_requests(scope(context), context.whole),
        names=("duration",),
        unit="ms",
        width=WIDTH,
        height=height,
    )


def record_count(scope: ScopeOf, height: int = 4) -> Panel:
    """The number of a scope's records."""
    return number(
        "Records",
        "Records in the time range.",
        lambda context: queries.record_count(scope(context), context.whole),
        height=height,
    )


def error_ratio(scope: ScopeOf, height: int = 4) -> Panel:
    """The share of a scope's records that are errors."""
    return number(
        "Error ratio",
        "ERROR and CRITICAL records as a share of all records.",
        lambda context: queries.error_ratio(scope(context), context.whole, by=()),
        unit="percentunit",
        bad_above=0.05,
        height=height,
    )


def records_by_level(scope: ScopeOf, description: str) -> Panel:
    """A scope's records over time, by level."""
    return chart(
        "Records by level",
        description,
        lambda context: queries.records_by_level(scope(context), context.step),
        width=16,
        stacked=True,
        levels=True,
    )


def requests_by_status_class(scope: ScopeOf, width: int = 12) -> Panel:
    """A scope's requests over time, by status class."""
    return chart(
        "Requests by status class",
        "Requests per step, by 2xx, 3xx, 4xx and 5xx.",
        lambda context: queries.requests_by_status_class(scope(context), context.step),
        width=width,
        stacked=True,
    )


def top_exception_types(scope: ScopeOf) -> Panel:
    """A scope's most frequent types of exceptions."""
    return bars(
        "Top exception types",
        "Records with an exception, by type.",
        lambda context: queries.top_exception_types(scope(context), context.whole),
        width=8,
    )


def durations(quantile: float, window: Callable[[QueryContext], Window], *by: str) -> BuildQuery:
    """The query for one percentile of request durations, in one number or by fields."""
    return lambda context: queries.request_duration(
        context.scope, window(context), quantile=quantile, by=by
    )
