"""`logstack logs` and `logstack query`: read records in the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text
from typer._click.exceptions import NoSuchOption
from typer.core import TyperCommand

from stack import settings
from stack.cli.console import AsJson, note, out, print_json
from stack.cli.environment import Environment, Reader, open_target
from stack.cli.filters import Grep, JsonLines, Level, RequestId, Service, selection_of
from stack.cli.follow import Follower
from stack.cli.record_format import print_record
from stack.cli.text import visible
from stack.cli.time_range import time_range
from stack.engines import Engine, EngineError, Selection
from stack.engines.factory import engine_of, restored_engine_of
from stack.engines.kinds import kind_of
from stack.runtimes import selection as runtime

if TYPE_CHECKING:
    from typer._click import Context

Since = Annotated[str, typer.Option(help="Start: a duration ago (5m, 2h) or a time.")]
Until = Annotated[str, typer.Option(help="End: a duration ago, a time, or now.")]
# A query that sorts its rows itself.
SORTED = re.compile(r"\|\s*(sort|order|first|last|top)\b")


def register(app: typer.Typer) -> None:
    app.command()(logs)
    app.command(cls=QueryCommand)(query)


class QueryCommand(TyperCommand):
    """`query`, whose argument may begin like an option."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except NoSuchOption as error:
            error.message += " In a query, write `!` for `-`: '!level:ERROR'."
            raise


def open_restored(environment: str) -> Engine:
    """The engine for restored records of the stack that runs in this checkout."""
    if environment:
        raise EngineError(
            f"cannot read restored records of {environment}: its gateway serves only records of "
            "the agents. Run: env -u LOGSTACK_ENV ./logstack logs --restored"
        )
    running = runtime.running(settings.load())
    name = kind_of(running.target.settings).restored_component
    if any(item.name == name and item.state == "idle" for item in running.statuses()):
        raise EngineError(
            "cannot read restored records: nothing is restored. "
            "Run: ./logstack archive restore --from 2026-01-31 --to 2026-02-01"
        )
    return restored_engine_of(running.target)


def logs(
    service: Service = "",
    level: Level = "",
    since: Since = "15m",
    until: Until = "now",
    request_id: RequestId = "",
    org: Annotated[str, typer.Option(help="Only this organization_id.")] = "",
    grep: Grep = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow: keep printing new records.")
    ] = False,
    number: Annotated[
        int, typer.Option("-n", min=1, max=100_000, help="Maximum number of records.")
    ] = 200,
    restored: Annotated[
        bool, typer.Option("--restored", help="Only records that `archive restore` restored.")
    ] = False,
    environment: Environment = "",
    reader: Reader = "",
    as_json: JsonLines = False,
) -> None:
    """Show the newest records, oldest first, one line each, tracebacks below.

    With --follow, a notice is printed when late records were skipped.

    Example: logstack logs --level ERROR --since 5m
    """
    matches = {"service_name": service, "request_id": request_id, "organization_id": org}
    times = time_range(since, until, may_be_empty=follow)
    selection = selection_of(times, level, grep, matches)
    engine = open_restored(environment) if restored else engine_of(open_target(environment, reader))
    follower = Follower(engine, selection, lambda text: note(text, "yellow")) if follow else None
    found = list(engine.records(selection, limit=number + 1))
    shown = found[-number:]
    if len(found) > number:
        note(f"Showing the newest {number} records; -n shows more.", "dim")
    for record in shown:
        print_record(record, as_json)
    if not found and not follow:
        check = f"make verify ENV={environment}" if environment else "./logstack status"
        note(f"No records match. Check that ingestion is healthy: {check}", "dim")
    for record in follower.records(shown) if follower else ():
        print_record(record, as_json)


def query(
    text: Annotated[str, typer.Argument(metavar="QUERY", help="LogsQL, or LogQL with Loki.")],
    since: Since = "1h",
    until: Until = "now",
    number: Annotated[
        int, typer.Option("-n", min=1, max=1_000_000, help="Maximum number of rows.")
    ] = 1000,
    environment: Environment = "",
    reader: Reader = "",
    as_json: AsJson = False,
) -> None:
    """Run a raw LogsQL or LogQL query.

    Example: logstack query 'level:ERROR | stats by (service_name) count() as errors'
    """
    selection = Selection(*time_range(since, until))
    engine = engine_of(open_target(environment, reader))
    rows = in_order(engine.query(text, selection, limit=number), text)
    if not rows:
        note(f"No rows match between --since {since} and --until {until}.", "dim")
        return
    if as_json:
        for row in rows:
            print_json(row)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for column in columns:
        table.add_column(Text(visible(column)), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column, "")) for column in columns))
    out.print(table)


def in_order(rows: Iterable[Mapping[str, str]], query: str) -> list[Mapping[str, str]]:
    """Records oldest first, those of one time by their content; other rows as the engine has them.

    VictoriaLogs answers newest first, Loki oldest first, and both in any order within one time.
    """
    found = list(rows)
    if SORTED.search(query) or not all("_time" in row for row in found):
        return found
    return sorted(found, key=lambda row: (row["_time"].rstrip("Z"), sorted(row.items())))


def _cell(text: str) -> Text:
    """Newlines stay; other control characters are shown, not sent to the terminal."""
    return Text("\n".join(visible(line) for line in text.split("\n")))
