"""`logstack logs` and `logstack query`: reading records in the terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from stack import runtime, settings, times
from stack.cli.format import as_json as json_line
from stack.cli.format import format_record, visible
from stack.cli.output import AsJson, out, say
from stack.contract import LEVELS
from stack.engines import Engine, Record, Selection
from stack.engines.factory import engine_of, restored_engine_of

FOLLOW_EVERY = 1.0  # seconds
FOLLOW_OVERLAP = timedelta(seconds=15)  # records may arrive this much later than they were made
FOLLOW_LIMIT = 10_000

Since = Annotated[str, typer.Option(help="Start: a duration ago (5m, 2h) or a time.")]
Until = Annotated[str, typer.Option(help="End: a duration ago, a time, or now.")]


def register(app: typer.Typer) -> None:
    app.command()(logs)
    app.command()(query)


def open_engine(restored: bool = False) -> Engine:
    """The engine of the stack that runs in this checkout, or the one for restored records."""
    target = runtime.running(settings.load()).target
    return restored_engine_of(target) if restored else engine_of(target)


def _moment(name: str, text: str) -> datetime:
    try:
        return times.parse_moment(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=name) from None


def logs(
    service: Annotated[str, typer.Option(help="Only this service.")] = "",
    level: Annotated[str, typer.Option(help="This level and the more severe ones.")] = "",
    since: Since = "15m",
    until: Until = "now",
    request_id: Annotated[str, typer.Option(help="Only this request or job.")] = "",
    org: Annotated[str, typer.Option(help="Only this organization_id.")] = "",
    grep: Annotated[str, typer.Option(help="Regular expression in message or traceback.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as records come.")] = False,
    number: Annotated[int, typer.Option("-n", min=1, max=100_000, help="At most this many.")] = 200,
    restored: Annotated[
        bool, typer.Option("--restored", help="Those that `archive restore` brought back.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON record a line.")] = False,
) -> None:
    """Show the newest records, oldest first, one line each and tracebacks below.

    Example: logstack logs --level ERROR --since 5m
    """
    if level and level.upper() not in LEVELS:
        raise typer.BadParameter(
            f"wanted one of {', '.join(LEVELS)}, found {level!r}", param_hint="--level"
        )
    exact = {"service_name": service, "request_id": request_id, "organization_id": org}
    selection = Selection(
        since=_moment("--since", since),
        until=_moment("--until", until),
        level=level.upper(),
        grep=grep,
        matches={name: value for name, value in exact.items() if value},
    )
    engine = open_engine(restored)
    found = list(engine.records(selection, limit=number + 1))
    shown = found[-number:]
    if len(found) > number:
        say(f"Only the newest {number} records are shown; -n shows more.", "dim")
    for record in shown:
        _print(record, as_json)
    if not found and not follow:
        say("No records match. `./logstack status` says whether they can arrive.", "dim")
    if follow:
        for record in _follow(engine, selection, shown):
            _print(record, as_json)


def query(
    text: Annotated[str, typer.Argument(metavar="QUERY", help="LogsQL; LogQL with Loki.")],
    since: Since = "1h",
    until: Until = "now",
    number: Annotated[int, typer.Option("-n", min=1, help="At most this many rows.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Ask the engine in its own language.

    Example: logstack query 'level:ERROR | stats by (service_name) count() as errors'
    """
    selection = Selection(since=_moment("--since", since), until=_moment("--until", until))
    rows = list(open_engine().query(text, selection, limit=number))
    if as_json:
        for row in rows:
            out.print(Text(json_line(row)))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for column in columns:
        table.add_column(Text(visible(column)), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column, "")) for column in columns))
    out.print(table)


def _follow(engine: Engine, selection: Selection, shown: list[Record]) -> Iterator[Record]:
    """New records as they come. Looks back a little each time, because records arrive late."""
    seen = {_key(record) for record in shown}
    since = min(selection.until, datetime.now(UTC)) - FOLLOW_OVERLAP
    older = engine.records(replace(selection, since=since), limit=FOLLOW_LIMIT)
    seen |= {_key(record) for record in older}  # `-n` left these out on purpose
    while True:
        time.sleep(FOLLOW_EVERY)
        now = datetime.now(UTC)
        window = replace(selection, since=since, until=now + timedelta(seconds=1))
        current = list(engine.records(window, limit=FOLLOW_LIMIT))
        for record in current:
            if _key(record) not in seen:
                yield record
        seen = {_key(record) for record in current}
        since = now - FOLLOW_OVERLAP


def _key(record: Record) -> str:
    return json.dumps(record, sort_keys=True)


def _cell(text: str) -> Text:
    """Several lines stay such; other control characters are shown, not obeyed."""
    return Text("\n".join(visible(line) for line in text.split("\n")))


def _print(record: Record, as_json: bool) -> None:
    out.print(Text(json_line(record)) if as_json else format_record(record))
