"""How does one organization fare? Its volume, errors, slow requests and people."""

from __future__ import annotations

from dashboards.model import ANY, Page, Row, TextBox, bars, chart, logs, number, table
from stack.queries import catalogue as queries
from stack.queries.catalogue import ERROR_LEVELS

ORGANIZATION_ID = TextBox(
    "organization_id",
    "Organization",
    ANY,
    f"An organization_id, or several with | between them; {ANY} is every one.",
)

ORGANIZATION = Page(
    name="organization",
    title="Organization",
    description="Volume, errors, slow requests and people of one organization, or of all.",
    text_boxes=(ORGANIZATION_ID,),
    rows=(
        Row(
            "All organizations",
            (
                bars(
                    "Records by organization",
                    "The largest organizations. A click chooses one.",
                    lambda ask: queries.records_by_organization(ask.scope, ask.whole),
                    width=8,
                ),
                bars(
                    "Errors by organization",
                    "ERROR and CRITICAL records. A click chooses the organization.",
                    lambda ask: queries.errors_by_organization(ask.scope, ask.whole),
                    width=8,
                ),
                bars(
                    "Bytes by organization",
                    "Who fills the store.",
                    lambda ask: queries.bytes_by_field(
                        ask.scope, ask.whole, field="organization_id"
                    ),
                    unit="bytes",
                    width=8,
                ),
            ),
        ),
        Row(
            "The chosen organization",
            (
                number(
                    "Records",
                    "Records in the time range.",
                    lambda ask: queries.record_count(ask.organization, ask.whole),
                    height=8,
                ),
                number(
                    "Error ratio",
                    "ERROR and CRITICAL records as a share of all.",
                    lambda ask: queries.error_ratio(ask.organization, ask.whole, by=()),
                    unit="percentunit",
                    bad_above=0.05,
                    height=8,
                ),
                chart(
                    "Records by level",
                    "Records per step.",
                    lambda ask: queries.records_by_level(ask.organization, ask.step),
                    width=16,
                    stacked=True,
                    levels=True,
                ),
                chart(
                    "Requests by status class",
                    "Requests per step, by 2xx, 3xx, 4xx and 5xx.",
                    lambda ask: queries.requests_by_status_class(ask.organization, ask.step),
                    width=8,
                    stacked=True,
                ),
                bars(
                    "Top users",
                    "Users by records.",
                    lambda ask: queries.records_by_field(
                        ask.organization, ask.whole, field="username"
                    ),
                    width=8,
                ),
                bars(
                    "Top exception types",
                    "Records with an exception, by its type. A click leads to them.",
                    lambda ask: queries.top_exception_types(ask.organization, ask.whole),
                    width=8,
                ),
                table(
                    "Slowest requests",
                    "Of those that took 100 ms or more. A click on request_id shows all about it.",
                    lambda ask: queries.slowest_requests(ask.organization, ask.whole),
                    names=("duration",),
                    unit="ms",
                    width=24,
                ),
                logs(
                    "Errors",
                    "ERROR and CRITICAL records with their traceback, newest first.",
                    lambda ask: queries.records(
                        ask.organization, levels=ERROR_LEVELS, readable=True
                    ),
                ),
            ),
        ),
    ),
)
