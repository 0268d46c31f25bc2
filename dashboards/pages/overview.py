"""The page Overview: records, errors and requests of all services."""

from __future__ import annotations

from dashboards.model import Page, Row, bars, chart, number
from dashboards.pages import shared
from dashboards.pages.shared import durations, errors
from stack.queries import catalogue as queries
from stack.queries.catalogue import ERROR_LEVELS

OVERVIEW = Page(
    name="overview",
    title="Overview",
    description="Volume, errors and requests of all services. Start here.",
    rows=(
        Row(
            "Now",
            (
                shared.record_count(lambda context: context.scope),
                shared.error_ratio(lambda context: context.scope),
                number(
                    "CRITICAL records",
                    "Records that report a failure of the whole application.",
                    lambda context: queries.record_count(
                        context.scope, context.whole, levels=("CRITICAL",)
                    ),
                    bad_above=1,
                    filled=False,
                ),
                number(
                    "Failed requests (5xx)",
                    "Requests answered with 5xx as a share of all requests.",
                    lambda context: queries.server_error_ratio(context.scope, context.whole, by=()),
                    unit="percentunit",
                    bad_above=0.05,
                ),
                number(
                    "p95 of request duration",
                    "95 % of requests took no longer.",
                    durations(0.95, lambda context: context.whole),
                    unit="ms",
                ),
                number(
                    "Active services",
                    "Services with at least one record in the time range.",
                    lambda context: queries.active_services(context.scope, context.whole),
                ),
            ),
        ),
        Row(
            "Volume",
            (
                shared.records_by_level(
                    lambda context: context.scope,
                    "Records per step. Lines that are not JSON have no level.",
                ),
                chart(
                    "Records per second",
                    "By service. A service that stops logging may be down.",
                    lambda context: queries.record_rate(context.scope, context.step),
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
                    lambda context: queries.error_ratio(context.scope, context.step),
                    width=8,
                    unit="percentunit",
                ),
                shared.top_exception_types(lambda context: context.scope),
                bars(
                    "Errors by logger",
                    "ERROR and CRITICAL records, by the logger that wrote them.",
                    lambda context: queries.records_by_field(
                        context.scope, context.whole, field="logger_name", levels=ERROR_LEVELS
                    ),
                    width=8,
                ),
            ),
        ),
        Row(
            "Newest records",
            (errors(lambda context: context.scope),),
        ),
    ),
)
