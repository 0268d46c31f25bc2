"""The page Pipeline health: whether records arrive, how many, and in which form."""

from __future__ import annotations

from dashboards.model import BuildQuery, Page, Panel, QueryContext, Row, bars, chart, logs
from stack.queries import catalogue as queries
from stack.queries import health
from stack.queries.language import Query

# What the monitor counts within ten minutes, by the names that panels show.
FLOW = {
    "accepted by the agent": "accepted_records_10m",
    "sent by the agent": "sent_records_10m",
    "accepted by the engine": "rows_taken_10m",
}
LOST = {
    "refused by the destination": "unsendable_records_10m",
    "queue full": "unqueued_records_10m",
    "lost in the queue": "dropped_records_10m",
    "dropped by the engine": "dropped_rows_10m",
    "lost by the engine": "lost_rows_10m",
}
COMPONENT, DESTINATION = ("host", "component"), ("host", "destination")


def measured(field: str, by: tuple[str, ...] = (), *, smallest: bool = False) -> BuildQuery:
    """What the monitor measured, in each step."""

    def build(context: QueryContext) -> Query:
        return health.health_value(
            context.scope, context.step, field=field, by=by, smallest=smallest
        )

    return build


def accounts(title: str, description: str, values: dict[str, str]) -> Panel:
    """The largest number of any host and destination, for each of some values."""
    queries_of = (measured(field) for field in values.values())
    return chart(title, description, *queries_of, names=tuple(values), filled=False)


PIPELINE = Page(
    name="pipeline",
    title="Pipeline health",
    description="Age, volume and form of arriving records, lost ones, and the stack itself.",
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
        Row(
            "The stack itself",
            (
                chart(
                    "Components that answer",
                    "1: it runs and its health check passes; 0: it does not.",
                    measured("up", COMPONENT, smallest=True),
                    filled=False,
                ),
                chart(
                    "Problems",
                    "What the monitor found wrong, in records per step; docs/monitoring.md.",
                    lambda context: health.problem_count(
                        context.scope, context.step, by=("problem", "component")
                    ),
                    stacked=True,
                    filled=False,
                ),
                accounts(
                    "Records within ten minutes",
                    "Of the host with the most. The lines differ while records wait in a queue.",
                    FLOW,
                ),
                accounts(
                    "Records refused, dropped or lost within ten minutes",
                    "Of the host with the most. Anything above 0 is a loss, and an alert.",
                    LOST,
                ),
                chart(
                    "Queue of the agents",
                    "Bytes that wait for each destination; limits.queue is the most.",
                    measured("queue_bytes", DESTINATION),
                    unit="bytes",
                    filled=False,
                ),
                chart(
                    "Age of the oldest record in the queue",
                    "By host and destination.",
                    measured("queue_age_s", DESTINATION),
                    unit="s",
                    filled=False,
                ),
                chart(
                    "Free disk",
                    "On the file system of each component that stores something.",
                    measured("disk_free_bytes", COMPONENT, smallest=True),
                    unit="bytes",
                    filled=False,
                ),
                chart(
                    "Time until the disk is full",
                    "If it goes on as in the last hours. Without a line it does not fill.",
                    measured("disk_full_in_s", COMPONENT, smallest=True),
                    unit="s",
                    filled=False,
                ),
                logs(
                    "Problems of the stack",
                    "What the monitor found wrong, with the evidence and the command to run.",
                    lambda context: health.problem_records(context.scope, readable=True),
                    filled=False,
                ),
            ),
        ),
    ),
)
