"""Do all records arrive? Ages, volumes, lines that are not JSON, and what had to be dropped."""

from __future__ import annotations

from dashboards.model import Page, Row, bars, chart, logs
from stack.queries import catalogue as queries

PIPELINE = Page(
    name="pipeline",
    title="Pipeline health",
    description="Whether records arrive: their age, volume and form, and what had to be dropped.",
    rows=(
        Row(
            "Arrival",
            (
                bars(
                    "Seconds since the newest record",
                    "By service, of those that logged anything within six hours.",
                    lambda ask: queries.record_age(ask.scope, ask.recent),
                    unit="s",
                    width=8,
                ),
                bars(
                    "Seconds since the newest record, by host",
                    "A host that grows older than the others has a problem with its agent.",
                    lambda ask: queries.record_age(ask.scope, ask.recent, by=("host",)),
                    unit="s",
                    width=8,
                ),
                chart(
                    "Records per second",
                    "By service.",
                    lambda ask: queries.record_rate(ask.scope, ask.step),
                    unit="cps",
                    width=8,
                ),
            ),
        ),
        Row(
            "Volume",
            (
                chart(
                    "Bytes by service",
                    "Bytes per step: of lines in Loki, of the fields' values in VictoriaLogs.",
                    lambda ask: queries.bytes_by_field(ask.scope, ask.step),
                    unit="bytes",
                    stacked=True,
                ),
                bars(
                    "Bytes by service in all",
                    "Who fills the store.",
                    lambda ask: queries.bytes_by_field(ask.scope, ask.whole),
                    unit="bytes",
                    width=6,
                ),
                bars(
                    "Records by host",
                    "Which agents deliver.",
                    lambda ask: queries.records_by_field(ask.scope, ask.whole, field="host"),
                    width=6,
                ),
            ),
        ),
        Row(
            "Form",
            (
                chart(
                    "Lines that are not JSON",
                    "As a share of the service's records: they have no level and no context.",
                    lambda ask: queries.unparsed_share(ask.scope, ask.step),
                    unit="percentunit",
                ),
                chart(
                    "Records lost, suppressed or unwritable",
                    "What the logging library says it could not log, per step.",
                    lambda ask: queries.loss_events(ask.scope, ask.step),
                    filled=False,
                ),
                logs(
                    "Records without a level",
                    "Lines that were not JSON, and JSON of another shape, newest first.",
                    lambda ask: queries.unparsed_records(ask.scope, readable=True),
                    filled=False,
                ),
            ),
        ),
    ),
)
