"""The page Organization: volume, errors, slow requests and users of one organization, or of all."""

from __future__ import annotations

from dashboards.model import ANY, Page, Row, TextBox, bars, chart, number
from dashboards.pages.shared import errors, slowest_requests
from stack.queries import catalogue as queries

ORGANIZATION_ID = TextBox(
    "organization_id",
    "Organization",
    ANY,
    f"An organization_id, or several separated by |; {ANY} is every organization.",
)

ORGANIZATION = Page(
    name="organization",
    title="Organization",
    description="Volume, errors, slow requests and users of one organization, or of all.",
    text_boxes=(ORGANIZATION_ID,),
    rows=(
        Row(
            "All organizations",
            (
                bars(
                    "Records by organization",
                    "The organizations with the most records.",
                    lambda context: queries.records_by_organization(context.scope, context.whole),
                    width=8,
                ),
                bars(
                    "Errors by organization",
                    "ERROR and CRITICAL records.",
                    lambda context: queries.errors_by_organization(context.scope, context.whole),
                    width=8,
                ),
                bars(
                    "Bytes by organization",
                    "The organizations that use the most storage.",
                    lambda context: queries.bytes_by_field(
                        context.scope, context.whole, field="organization_id"
                    ),
                    unit="bytes",
                    width=8,
                ),
            ),
        ),
        Row(
            "Selected organization",
            (
                number(
                    "Records",
                    "Records in the time range.",
                    lambda context: queries.record_count(context.organization, context.whole),
                    height=8,
                ),
                number(
                    "Error ratio",
                    "ERROR and CRITICAL records as a share of all records.",
                    lambda context: queries.error_ratio(context.organization, context.whole, by=()),
                    unit="percentunit",
                    bad_above=0.05,
                    height=8,
                ),
                chart(
                    "Records by level",
                    "Records per step.",
                    lambda context: queries.records_by_level(context.organization, context.step),
                    width=16,
                    stacked=True,
                    levels=True,
                ),
                chart(
                    "Requests by status class",
                    "Requests per step, by 2xx, 3xx, 4xx and 5xx.",
                    lambda context: queries.requests_by_status_class(
                        context.organization, context.step
                    ),
                    width=8,
                    stacked=True,
                ),
                bars(
                    "Top users",
                    "The users with the most records.",
                    lambda context: queries.records_by_field(
                        context.organization, context.whole, field="username"
                    ),
                    width=8,
                ),
                bars(
                    "Top exception types",
                    "Records with an exception, by type.",
                    lambda context: queries.top_exception_types(
                        context.organization, context.whole
                    ),
                    width=8,
                ),
                slowest_requests(lambda context: context.organization),
                errors(lambda context: context.organization),
            ),
        ),
    ),
)
