"""The page HTTP: responses and latency of requests, and the slowest and failing ones."""

from __future__ import annotations

from dashboards.model import Page, Panel, Row, bars, chart
from dashboards.pages.shared import (
    PERCENTILES,
    durations,
    requests_by_status_class,
    slowest_requests,
)
from stack.queries import catalogue as queries


def duration_by_route(name: str, quantile: float) -> Panel:
    """One percentile of request durations, by route."""
    return bars(
        f"{name} by route",
        f"{quantile:.0%} of a route's requests took no longer.".replace("%", " %"),
        durations(quantile, lambda context: context.whole, "route"),
        unit="ms",
        width=8,
    )


HTTP = Page(
    name="http",
    title="HTTP",
    description="HTTP traffic and latency: status codes, durations, slow and failing requests.",
    rows=(
        Row(
            "Responses",
            (
                requests_by_status_class(lambda context: context.scope),
                chart(
                    "Requests per second",
                    "By service.",
                    lambda context: queries.request_rate(context.scope, context.step),
                    width=6,
                    unit="reqps",
                ),
                chart(
                    "Failed requests (5xx)",
                    "Requests answered with 5xx as a share of the service's requests.",
                    lambda context: queries.server_error_ratio(context.scope, context.step),
                    width=6,
                    unit="percentunit",
                ),
            ),
        ),
        Row(
            "Durations",
            (
                chart(
                    "Request duration",
                    "50 %, 95 % and 99 % of requests took no longer.",
                    *(durations(q, lambda context: context.step) for q in PERCENTILES.values()),
                    names=tuple(PERCENTILES),
                    unit="ms",
                ),
                chart(
                    "p95 of request duration by route",
                    "95 % of a route's requests took no longer.",
                    durations(0.95, lambda context: context.step, "route"),
                    unit="ms",
                ),
                *(duration_by_route(name, quantile) for name, quantile in PERCENTILES.items()),
            ),
        ),
        Row(
            "Routes and requests",
            (
                bars(
                    "Requests by route",
                    "The routes with the most requests.",
                    lambda context: queries.requests_by_field(
                        context.scope, context.whole, field="route"
                    ),
                    width=8,
                ),
                bars(
                    "Failed requests (5xx) by route",
                    "The routes with the most failed requests.",
                    lambda context: queries.requests_by_field(
                        context.scope, context.whole, field="route", at_least_status=500
                    ),
                    width=8,
                ),
                bars(
                    "Requests by status",
                    "The most frequent status codes.",
                    lambda context: queries.requests_by_field(
                        context.scope, context.whole, field="status", limit=20
                    ),
                    width=8,
                ),
                slowest_requests(lambda context: context.scope, height=12),
            ),
        ),
    ),
)
