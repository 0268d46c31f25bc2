"""The page Errors: exceptions by type, logger and organization, and new ones."""

from __future__ import annotations

from dashboards.model import ANY, Page, Row, TextBox, bars, chart, logs, number, table
from stack.queries import catalogue as queries

EXCEPTION_TYPE = TextBox(
    "exception_type",
    "Exception type",
    ANY,
    f"A type, or several separated by |; {ANY} is every type.",
)

ERRORS = Page(
    name="errors",
    title="Errors",
    description="Exceptions by type, logger and organization, new exceptions, failed jobs.",
    text_boxes=(EXCEPTION_TYPE,),
    rows=(
        Row(
            "Exceptions",
            (
                chart(
                    "Exceptions by type",
                    "Records with an exception per step, for the ten most frequent types.",
                    lambda context: queries.top_exception_types(
                        context.scope, context.step, exception_type=context.exception_type
                    ),
                    width=16,
                    stacked=True,
                ),
                table(
                    "New exception types",
                    "Types of the last six hours that did not occur in the day before.",
                    lambda context: queries.new_exception_types(context.scope, context.recent),
                    names=("records",),
                    width=8,
                    filled=False,
                ),
            ),
        ),
        Row(
            "Exceptions by type, logger and organization",
            (
                bars(
                    "By type",
                    "Records with an exception, by type.",
                    lambda context: queries.top_exception_types(
                        context.scope, context.whole, exception_type=context.exception_type
                    ),
                    width=8,
                ),
                bars(
                    "By logger",
                    "Records with an exception, by the logger that wrote them.",
                    lambda context: queries.exceptions_by_field(
                        context.scope,
                        context.whole,
                        field="logger_name",
                        exception_type=context.exception_type,
                    ),
                    width=8,
                ),
                bars(
                    "By organization",
                    "Records with an exception, by organization.",
                    lambda context: queries.exceptions_by_field(
                        context.scope,
                        context.whole,
                        field="organization_id",
                        exception_type=context.exception_type,
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
                    "Finished and failed background jobs and Celery tasks, per step.",
                    lambda context: queries.jobs_by_outcome(context.scope, context.step),
                    width=20,
                    stacked=True,
                    filled=False,
                ),
                number(
                    "Failed jobs",
                    "Background jobs and Celery tasks that failed in the time range.",
                    lambda context: queries.failed_jobs(context.scope, context.whole),
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
                    "Exceptions with tracebacks",
                    "Records with an exception and their traceback, newest first.",
                    lambda context: queries.exception_records(
                        context.scope, exception_type=context.exception_type, readable=True
                    ),
                ),
            ),
        ),
    ),
)
