"""The page Security: logins, denied requests, changed roles and exports."""

from __future__ import annotations

from dashboards.model import Page, Row, bars, chart, logs, table
from stack.queries import catalogue as queries
from stack.queries.catalogue import SECURITY_EVENTS

SECURITY = Page(
    name="security",
    title="Security",
    description="Logins, denied requests, changed roles and exports.",
    rows=(
        Row(
            "Events",
            (
                chart(
                    "Security events",
                    "Logins, failed logins, logouts, denied requests, changed roles, exports.",
                    lambda context: queries.security_events(context.scope, context.step),
                    width=24,
                    stacked=True,
                ),
            ),
        ),
        Row(
            "Failed logins and denied requests",
            (
                bars(
                    "Failed logins by client address",
                    "Many from one address indicate password guessing.",
                    lambda context: queries.login_failures(context.scope, context.whole),
                    width=8,
                ),
                bars(
                    "Failed logins by user",
                    "The user names that were tried, whether they exist or not.",
                    lambda context: queries.login_failures(
                        context.scope, context.whole, by=("username",)
                    ),
                    width=8,
                ),
                bars(
                    "Denied requests by user",
                    "Requests answered with 403.",
                    lambda context: queries.permission_denials(context.scope, context.whole),
                    width=8,
                ),
            ),
        ),
        Row(
            "Audit",
            (
                table(
                    "Admin actions",
                    "Changed roles and new organizations, by user.",
                    lambda context: queries.admin_actions(context.scope, context.whole),
                    names=("actions",),
                ),
                table(
                    "Exports",
                    "Exports of data, by user and organization.",
                    lambda context: queries.data_exports(context.scope, context.whole),
                    names=("exports",),
                ),
                logs(
                    "Security records",
                    "The records behind this page, newest first.",
                    lambda context: queries.event_records(
                        context.scope, events=SECURITY_EVENTS, readable=True
                    ),
                ),
            ),
        ),
    ),
)
