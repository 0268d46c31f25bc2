"""What fails? Exceptions by type, place and organization, and which of them are new."""

from __future__ import annotations

from dashboards.model import ANY, Page, Row, TextBox, bars, chart, logs, number, table
from stack.queries import catalogue as queries

EXCEPTION_TYPE = TextBox(
    "exception_type",
    "Exception type",
    ANY,
    f"A type, or several with | between them; {ANY} is every type.",
)

ERRORS = Page(
    name="errors",
    title="Errors",
    description="Exceptions by type, place and organization, and which of them are new.",
    text_boxes=(EXCEPTION_TYPE,),
    rows=(
        Row(
            "How many",
            (
                chart(
                    "Exceptions by type",
                    "Records with an exception per step, by its type: the ten most frequent ones.",
                    lambda ask: queries.top_exception_types(
                        ask.scope, ask.step, exception_type=ask.exception_type
                    ),
                    width=16,
                    stacked=True,
                ),
                table(
                    "New exception types",
                    "Types of the last six hours that did not occur in the day before them.",
                    lambda ask: queries.new_exception_types(ask.scope, ask.recent),
                    names=("records",),
                    width=8,
                    filled=False,
                ),
            ),
        ),
        Row(
            "Where",
            (
                bars(
                    "By type",
                    "Records with an exception, by its type.",
                    lambda ask: queries.top_exception_types(
                        ask.scope, ask.whole, exception_type=ask.exception_type
                    ),
                    width=8,
                ),
                bars(
                    "By logger",
                    "Records with an exception, by the logger that wrote them.",
                    lambda ask: queries.exceptions_by_field(
                        ask.scope,
                        ask.whole,
                        field="logger_name",
                        exception_type=ask.exception_type,
                    ),
                    width=8,
                ),
                bars(
                    "By organization",
                    "Records with an exception, by organization. A click leads to it.",
                    lambda ask: queries.exceptions_by_field(
                        ask.scope,
                        ask.whole,
                        field="organization_id",
                        exception_type=ask.exception_type,
                    ),
                    width=8,
                ),
            ),
        ),
        Row(
            "Jobs",
            (
                chart(
                    "Jobs and tasks by outcome",
                    "Background jobs and Celery tasks that ended, per step.",
                    lambda ask: queries.jobs_by_outcome(ask.scope, ask.step),
                    width=20,
                    stacked=True,
                    filled=False,
                ),
                number(
                    "Failed jobs",
                    "Background jobs and Celery tasks that failed in the time range.",
                    lambda ask: queries.failed_jobs(ask.scope, ask.whole),
                    height=8,
                    bad_above=1,
                    filled=False,
                ),
            ),
        ),
        Row(
            "Tracebacks",
            (
                logs(
                    "Exceptions",
                    "Records with an exception and their traceback, newest first.",
                    lambda ask: queries.exception_records(
                        ask.scope, exception_type=ask.exception_type, readable=True
                    ),
                ),
            ),
        ),
    ),
)
