"""Panels that several pages show."""

from __future__ import annotations

from collections.abc import Callable

from dashboards.model import WIDTH, BuildQuery, Panel, QueryContext, logs, table
from stack.queries import catalogue as queries
from stack.queries.catalogue import ERROR_LEVELS
from stack.queries.language import Scope, Window

# Percentiles of request durations, by the name that panels show.
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def errors(scope: Callable[[QueryContext], Scope]) -> Panel:
    """The errors of a scope."""
    return logs(
        "Errors",
        "ERROR and CRITICAL records with their traceback, newest first.",
        lambda context: queries.records(scope(context), levels=ERROR_LEVELS, readable=True),
    )


def slowest_requests(scope: Callable[[QueryContext], Scope], height: int = 8) -> Panel:
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


def durations(quantile: float, window: Callable[[QueryContext], Window], *by: str) -> BuildQuery:
    """The query for one percentile of request durations, in one number or by fields."""
    return lambda context: queries.request_duration(
        context.scope, window(context), quantile=quantile, by=by
    )
