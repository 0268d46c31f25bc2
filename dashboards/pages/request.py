"""What happened in one request? Every record of it, from all services, in order."""

from __future__ import annotations

from dashboards.model import WIDTH, Page, Row, TextBox, logs, table
from stack.queries import catalogue as queries

REQUEST_ID = TextBox(
    "request_id",
    "Request or trace",
    "-",
    "A request_id, which error pages and the header X-Request-ID show, or a trace_id.",
)

REQUEST = Page(
    name="request",
    title="Request",
    description="Every record of one request or trace, from all services, in order.",
    text_boxes=(REQUEST_ID,),
    refresh="",
    rows=(
        Row(
            "The chosen request",
            (
                logs(
                    "Records in order",
                    "All that any service logged for the request_id or trace_id, oldest first.",
                    lambda ask: queries.records_of(ask.scope, ask.request, readable=True),
                    oldest_first=True,
                    height=16,
                ),
            ),
        ),
        Row(
            "Candidates",
            (
                table(
                    "Slowest requests",
                    "Of those that took 100 ms or more. A click on request_id chooses one.",
                    lambda ask: queries.slowest_requests(ask.scope, ask.whole),
                    names=("duration",),
                    unit="ms",
                    width=WIDTH,
                ),
                logs(
                    "Requests that failed",
                    "Records with an exception, newest first; their details have the request_id.",
                    lambda ask: queries.exception_records(ask.scope, readable=True),
                ),
            ),
        ),
    ),
)
