"""One record as coloured text: a line, and the traceback indented below it."""

from __future__ import annotations

from rich.text import Text

from stack.cli.console import out, print_json_line
from stack.cli.text import visible
from stack.engines import Record
from stack.records.contract import LEVEL_COLORS
from stack.records.timestamps import to_local

# Shown by position, below the line, or the same in every line.
NOT_IN_DETAILS = {
    *("timestamp", "level", "service_name", "logger_name", "message", "stack_trace"),
    *("environment", "host", "session_id", "trace_id", "format"),
}


def print_record(record: Record, as_json: bool) -> None:
    """Print the record, as coloured text or as one line of JSON."""
    if as_json:
        print_json_line(record)
    else:
        out.print(format_record(record))


def format_record(record: Record) -> Text:
    """The record as text; control characters are shown, not sent to the terminal."""
    level = str(record.get("level", "TEXT"))
    head, *rest = str(record["message"]).split("\n")
    text = Text()
    text.append(visible(to_local(str(record.get("timestamp", "")))), "dim")
    style = LEVEL_COLORS[level].terminal if level in LEVEL_COLORS else "blue"
    text.append(f" {visible(level):<8}", style)
    text.append(f" {visible(str(record.get('service_name', '-')))}", "cyan")
    text.append(f" {visible(str(record.get('logger_name', '-')))}", "dim")
    text.append(f" {visible(head)}")
    details = " ".join(
        f"{visible(name)}={_value(value)}"
        for name, value in record.items()
        if name not in NOT_IN_DETAILS
    )
    if details:
        text.append(f" {details}", "dim")
    for line in (*rest, *str(record.get("stack_trace", "")).splitlines()):
        text.append(f"\n    {visible(line)}", "dim")
    return text


def _value(value: object) -> str:
    shown = visible(str(value).lower() if isinstance(value, bool) else str(value))
    return f'"{shown}"' if " " in shown else shown
