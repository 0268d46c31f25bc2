"""Who tries to get in, who is refused, who changes rights and who takes data out."""

from __future__ import annotations

from dashboards.model import Page, Row, bars, chart, logs, table
from stack.queries import catalogue as queries
from stack.queries.catalogue import SECURITY_EVENTS

SECURITY = Page(
    name="security",
    title="Security",
    description="Logins, refusals, changed rights and exports.",
    rows=(
        Row(
            "Events",
            (
                chart(
                    "Security events",
                    "Logins, failed logins, logouts, refusals, changed roles, exports per step.",
                    lambda ask: queries.security_events(ask.scope, ask.step),
                    width=24,
                    stacked=True,
                ),
            ),
        ),
        Row(
            "Failed logins and refusals",
            (
                bars(
                    "Failed logins by address",
                    "Many from one address: somebody guesses passwords.",
                    lambda ask: queries.login_failures(ask.scope, ask.whole),
                    width=8,
                ),
                bars(
                    "Failed logins by user",
                    "The names that were tried, whether they exist or not.",
                    lambda ask: queries.login_failures(ask.scope, ask.whole, by=("username",)),
                    width=8,
                ),
                bars(
                    "Permission denied by user",
                    "Requests that were refused with 403.",
                    lambda ask: queries.permission_denials(ask.scope, ask.whole),
                    width=8,
                ),
            ),
        ),
        Row(
            "What was done",
            (
                table(
                    "Admin actions",
                    "Changed roles and new organizations, by user.",
                    lambda ask: queries.admin_actions(ask.scope, ask.whole),
                    names=("actions",),
                ),
                table(
                    "Exports",
                    "Data that left the system, by user and organization.",
                    lambda ask: queries.data_exports(ask.scope, ask.whole),
                    names=("exports",),
                ),
                logs(
                    "Security records",
                    "The records behind this page, newest first.",
                    lambda ask: queries.event_records(
                        ask.scope, events=SECURITY_EVENTS, readable=True
                    ),
                ),
            ),
        ),
    ),
)
