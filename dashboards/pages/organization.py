"""The page Organization: volume, errors, slow requests and users of one organization, or of all."""

from __future__ import annotations

from dashboards.model import ANY, Page, Row, TextBox, bars
from dashboards.pages import shared
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
                shared.record_count(lambda context: context.organization, height=8),
                shared.error_ratio(lambda context: context.organization, height=8),
                shared.records_by_level(lambda context: context.organization, "Records per step."),
                shared.requests_by_status_class(lambda context: context.organization, width=8),
                bars(
                    "Top users",
                    "The users with the most records.",
                    lambda context: queries.records_by_field(
                        context.organization, context.whole, field="username"
                    ),
                    width=8,
                ),
                shared.top_exception_types(lambda context: context.organization),
                slowest_requests(lambda context: context.organization),
                errors(lambda context: context.organization),
            ),
        ),
    ),
)
