"""Is everything all right? What is logged, by whom, and how much of it is wrong."""

from __future__ import annotations

from dashboards.model import Page, Row, bars, chart, logs, number
from stack.queries import catalogue as queries
from stack.queries.catalogue import ERROR_LEVELS

OVERVIEW = Page(
    name="overview",
    title="Overview",
    description="What all services log, and how much of it is wrong. Start here.",
    rows=(
        Row(
            "Now",
            (
                number(
                    "Records",
                    "Records in the time range.",
                    lambda ask: queries.record_count(ask.scope, ask.whole),
                ),
                number(
                    "Error ratio",
                    "ERROR and CRITICAL records as a share of all.",
                    lambda ask: queries.error_ratio(ask.scope, ask.whole, by=()),
                    unit="percentunit",
                    bad_above=0.05,
                ),
                number(
                    "CRITICAL records",
                    "Records that say that the application itself is in danger.",
                    lambda ask: queries.record_count(ask.scope, ask.whole, levels=("CRITICAL",)),
                    bad_above=1,
                    filled=False,
                ),
                number(
                    "Failed requests",
                    "Requests answered with 5xx as a share of all requests.",
                    lambda ask: queries.server_error_ratio(ask.scope, ask.whole, by=()),
                    unit="percentunit",
                    bad_above=0.05,
                ),
                number(
                    "95 % of requests within",
                    "Nineteen of twenty requests took no longer.",
                    lambda ask: queries.request_duration(
                        ask.scope, ask.whole, quantile=0.95, by=()
                    ),
                    unit="ms",
                ),
                number(
                    "Active services",
                    "Services that logged anything in the time range.",
                    lambda ask: queries.active_services(ask.scope, ask.whole),
                ),
            ),
        ),
        Row(
            "Volume",
            (
                chart(
                    "Records by level",
                    "Records per step. A line that was not JSON has no level.",
                    lambda ask: queries.records_by_level(ask.scope, ask.step),
                    width=16,
                    stacked=True,
                    levels=True,
                ),
                chart(
                    "Records per second",
                    "By service. A service that stops logging may have stopped working.",
                    lambda ask: queries.record_rate(ask.scope, ask.step),
                    width=8,
                    unit="cps",
                ),
            ),
        ),
        Row(
            "Errors",
            (
                chart(
                    "Error ratio by service",
                    "ERROR and CRITICAL records as a share of the service's records.",
                    lambda ask: queries.error_ratio(ask.scope, ask.step),
                    width=8,
                    unit="percentunit",
                ),
                bars(
                    "Top exception types",
                    "Records with an exception, by its type. A click leads to them.",
                    lambda ask: queries.top_exception_types(ask.scope, ask.whole),
                    width=8,
                ),
                bars(
                    "Top loggers of errors",
                    "Where ERROR and CRITICAL records come from.",
                    lambda ask: queries.records_by_field(
                        ask.scope, ask.whole, field="logger_name", levels=ERROR_LEVELS
                    ),
                    width=8,
                ),
            ),
        ),
        Row(
            "Newest records",
            (
                logs(
                    "Errors",
                    "ERROR and CRITICAL records with their traceback, newest first.",
                    lambda ask: queries.records(ask.scope, levels=ERROR_LEVELS, readable=True),
                ),
            ),
        ),
    ),
)
