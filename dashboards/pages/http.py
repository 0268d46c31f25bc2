"""How do requests fare? Answers, durations and the slowest and failing ones."""

from __future__ import annotations

from dashboards.model import Page, Row, bars, chart, table
from stack.queries import catalogue as queries

HTTP = Page(
    name="http",
    title="HTTP",
    description="Requests by answer and duration, and the slowest and failing ones.",
    rows=(
        Row(
            "Answers",
            (
                chart(
                    "Requests by status class",
                    "Requests per step, by 2xx, 3xx, 4xx and 5xx.",
                    lambda ask: queries.requests_by_status_class(ask.scope, ask.step),
                    stacked=True,
                ),
                chart(
                    "Requests per second",
                    "By service.",
                    lambda ask: queries.request_rate(ask.scope, ask.step),
                    width=6,
                    unit="reqps",
                ),
                chart(
                    "Failed requests",
                    "Requests answered with 5xx as a share of the service's requests.",
                    lambda ask: queries.server_error_ratio(ask.scope, ask.step),
                    width=6,
                    unit="percentunit",
                ),
            ),
        ),
        Row(
            "Durations",
            (
                chart(
                    "Duration of requests",
                    "Half of the requests, 95 % and 99 % of them took no longer.",
                    lambda ask: queries.request_duration(ask.scope, ask.step, quantile=0.5, by=()),
                    lambda ask: queries.request_duration(ask.scope, ask.step, quantile=0.95, by=()),
                    lambda ask: queries.request_duration(ask.scope, ask.step, quantile=0.99, by=()),
                    names=("p50", "p95", "p99"),
                    unit="ms",
                ),
                chart(
                    "95th percentile by route",
                    "Nineteen of twenty requests of a route took no longer.",
                    lambda ask: queries.request_duration(ask.scope, ask.step, quantile=0.95),
                    unit="ms",
                ),
                bars(
                    "p50 by route",
                    "Half of a route's requests took no longer.",
                    lambda ask: queries.request_duration(ask.scope, ask.whole, quantile=0.5),
                    unit="ms",
                    width=8,
                ),
                bars(
                    "p95 by route",
                    "95 % of a route's requests took no longer.",
                    lambda ask: queries.request_duration(ask.scope, ask.whole, quantile=0.95),
                    unit="ms",
                    width=8,
                ),
                bars(
                    "p99 by route",
                    "99 % of a route's requests took no longer.",
                    lambda ask: queries.request_duration(ask.scope, ask.whole, quantile=0.99),
                    unit="ms",
                    width=8,
                ),
            ),
        ),
        Row(
            "Which",
            (
                bars(
                    "Requests by route",
                    "The most frequent routes.",
                    lambda ask: queries.requests_by_field(ask.scope, ask.whole, field="route"),
                    width=8,
                ),
                bars(
                    "Failed requests by route",
                    "Requests answered with 5xx.",
                    lambda ask: queries.requests_by_field(
                        ask.scope, ask.whole, field="route", at_least_status=500
                    ),
                    width=8,
                ),
                bars(
                    "Requests by status",
                    "Every status code that was answered.",
                    lambda ask: queries.requests_by_field(
                        ask.scope, ask.whole, field="status", limit=20
                    ),
                    width=8,
                ),
                table(
                    "Slowest requests",
                    "Of those that took 100 ms or more. A click on request_id shows all about it.",
                    lambda ask: queries.slowest_requests(ask.scope, ask.whole),
                    names=("duration",),
                    unit="ms",
                    width=24,
                    height=12,
                ),
            ),
        ),
    ),
)
