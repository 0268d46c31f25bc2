"""`logstack explain`: what record a line becomes, and why."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from stack import settings
from stack.checks.explain import Explained, entry_of, explain
from stack.cli.console import note, out, plain, print_json, progress
from stack.cli.filters import JsonLines
from stack.cli.text import visible
from stack.engines.kinds import kind_of
from stack.runtimes.encodings import open_as_utf8, read_as_utf8
from stack.runtimes.selection import running
from stack.runtimes.single_run import find_program
from stack.settings.tables import FileSource

MOST_SHOWN = 300  # characters of a value; --json has all


def register(app: typer.Typer) -> None:
    app.command("explain")(run)


def run(
    lines: Annotated[
        list[str] | None,
        typer.Argument(metavar="LINE...", help="Lines; without any, standard input is read."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Read the lines of this file instead."),
    ] = None,
    number: Annotated[
        int, typer.Option("-n", min=1, max=10_000, help="With --file: this many first lines.")
    ] = 20,
    service: Annotated[str, typer.Option(help="The service of lines that do not name one.")] = "",
    as_json: JsonLines = False,
) -> None:
    """Show what record a line becomes, which rule read each field, and what to set if it is wrong.

    The agent itself reads the lines, with the settings of this checkout; no stack needs to run.

    Example: logstack explain '{"msg": "paid", "level": "info"}'
    """
    if lines and file:
        raise typer.BadParameter("expected lines or a file, got both", param_hint="--file")
    values = running(settings.load()).target.settings
    source = entry_of(values, service, file.absolute() if file else None)
    given = _read(lines or [], source if file else None, number)
    with progress() as display:
        program = find_program(values, display.update, values.stack.agent)
        found = explain(values, program, read_as_utf8(source), given)
    for item in found:
        if as_json:
            print_json(_as_json(item))
        else:
            _print(item, len(given), kind_of(values).title)
    if not found:
        note("No record: there is no line.", "dim")


def _read(lines: list[str], source: FileSource | None, number: int) -> list[bytes]:
    if source:
        with Path(source.path).open("rb") as file:
            found = iter(open_as_utf8(file, source).readline, b"")
            return [line.removesuffix(b"\n") for line in islice(found, number)]
    data = "\n".join(lines).encode("utf-8", "surrogateescape") if lines else _read_input()
    return data.removesuffix(b"\n").split(b"\n") if data else []


def _read_input() -> bytes:
    if sys.stdin.isatty():
        note("Reading lines from the terminal; Ctrl-D ends them.", "dim")
    return sys.stdin.buffer.read()


def _as_json(item: Explained) -> dict[str, object]:
    return {
        "lines": [item.first, item.last],
        "record": item.record,
        "from": item.origins.fields,
        "aside": item.origins.aside,
        "advice": item.origins.advice,
    }


def _print(item: Explained, lines: int, engine: str) -> None:
    if lines > 1:
        which = (
            f"line {item.first}"
            if item.first == item.last
            else (f"lines {item.first} to {item.last}")
        )
        out.print(plain(f"{which}: one record in {engine}", "bold"))
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("field", "value", "from"):
        table.add_column(heading, overflow="fold")
    for name, value in item.record.items():
        origin = item.origins.fields[name]
        style = "" if origin.startswith("its own") else "yellow"
        table.add_row(Text(visible(name)), _value(str(value)), plain(origin, style))
    out.print(table)
    for heading, texts in (("moved aside", item.origins.aside), ("if wrong", item.origins.advice)):
        for text in texts:
            out.print(plain(f"{heading}: {text}", "dim"))
    out.print()


def _value(text: str) -> Text:
    cut = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}… ({len(text)} characters)"
    return Text("\n".join(visible(line) for line in cut.split("\n")))
