"""The page Pipeline health: whether records arrive, how many, and in which form."""

from __future__ import annotations

from dashboards.model import Page, Row, bars, chart, logs
from stack.queries import catalogue as queries

PIPELINE = Page(
    name="pipeline",
    title="Pipeline health",
    description="Age, volume and form of arriving records, and records that were lost.",
    rows=(
        Row(
            "Arrival",
            (
                bars(
                    "Seconds since the newest record",
                    "By service, for services with a record in the last six hours.",
                    lambda context: queries.record_age(context.scope, context.recent),
                    unit="s",
                    width=8,
                ),
                bars(
                    "Seconds since the newest record, by host",
                    "If one host is far behind the others, check its agent.",
                    lambda context: queries.record_age(context.scope, context.recent, by=("host",)),
                    unit="s",
                    width=8,
                ),
                chart(
                    "Records per second",
                    "By service.",
                    lambda context: queries.record_rate(context.scope, context.step),
                    unit="cps",
                    width=8,
                ),
            ),
        ),
        Row(
            "Volume",
            (
                chart(
                    "Bytes per step by service",
                    "In Loki the bytes of lines, in VictoriaLogs those of field values.",
                    lambda context: queries.bytes_by_field(context.scope, context.step),
                    unit="bytes",
                    stacked=True,
                ),
                bars(
                    "Bytes by service",
                    "The services that use the most storage.",
                    lambda context: queries.bytes_by_field(context.scope, context.whole),
                    unit="bytes",
                    width=6,
                ),
                bars(
                    "Records by host",
                    "Hosts whose agents deliver records.",
                    lambda context: queries.records_by_field(
                        context.scope, context.whole, field="host"
                    ),
                    width=6,
                ),
            ),
        ),
        Row(
            "Form",
            (
                chart(
                    "Lines that are not JSON",
                    "As a share of the service's records. They have no level and no context.",
                    lambda context: queries.unparsed_share(context.scope, context.step),
                    unit="percentunit",
                ),
                chart(
                    "Records lost, suppressed or unwritable",
                    "Records that the logging library reports as not logged, per step.",
                    lambda context: queries.loss_events(context.scope, context.step),
                    filled=False,
                ),
                logs(
                    "Records without a level",
                    "Lines that are not JSON, and JSON without a level, newest first.",
                    lambda context: queries.unparsed_records(context.scope, readable=True),
                    filled=False,
                ),
            ),
        ),
    ),
)
