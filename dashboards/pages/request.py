"""The page Request: every record of one request or trace, from all services, in order."""

from __future__ import annotations

from dashboards.model import Page, Row, TextBox, logs
from dashboards.pages.shared import slowest_requests
from stack.queries import catalogue as queries

REQUEST_ID = TextBox(
    "request_id",
    "Request or trace",
    "-",
    "A trace_id, or a request_id from an error page or the header X-Request-ID.",
)

REQUEST = Page(
    name="request",
    title="Request",
    description="Every record of one request or trace, from all services, in order.",
    text_boxes=(REQUEST_ID,),
    refresh="",
    rows=(
        Row(
            "Selected request",
            (
                logs(
                    "Records in order",
                    "Records of the request_id or trace_id from every service, oldest first.",
                    lambda context: queries.records_of(
                        context.scope, context.request, readable=True
                    ),
                    oldest_first=True,
                    height=16,
                ),
            ),
        ),
        Row(
            "Requests to select",
            (
                slowest_requests(lambda context: context.scope),
                logs(
                    "Failed requests",
                    "Records with an exception, newest first; the details have the request_id.",
                    lambda context: queries.exception_records(context.scope, readable=True),
                ),
            ),
        ),
    ),
)
