"""One record as coloured text: a line, and the traceback indented below it."""

from __future__ import annotations

import json
import re

from rich.text import Text

from stack.contract import fields
from stack.engines import Record
from stack.times import local

LEVEL_STYLES = {
    "DEBUG": "dim",
    "INFO": "green",
    "WARNING": "yellow",
    "ERROR": "red",
    "CRITICAL": "bold white on red",
}
# Shown by position, below the line, or the same in every line.
NOT_IN_DETAILS = {
    *("timestamp", "level", "service_name", "logger_name", "message", "stack_trace"),
    *("environment", "host", "session_id", "trace_id", "format"),
}
# C0 and C1 controls, DEL: a log line must not be able to drive the reader's terminal.
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def format_record(record: Record) -> Text:
    """The record for people; control characters are shown, not obeyed."""
    level = str(record.get("level", "TEXT"))
    head, *rest = str(record["message"]).split("\n")
    text = Text()
    text.append(visible(local(str(record.get("timestamp", "")))), "dim")
    text.append(f" {visible(level):<8}", LEVEL_STYLES.get(level, "blue"))
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


def as_json(value: object) -> str:
    """JSON on one line, without the controls that JSON itself would leave in it."""
    text = json.dumps(value, ensure_ascii=False)
    return CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def visible(text: str) -> str:
    r"""Control characters as `\x1b` and the like."""
    return CONTROLS.sub(lambda match: repr(match[0])[1:-1], text)


def _value(value: object) -> str:
    shown = visible(str(value).lower() if isinstance(value, bool) else str(value))
    return f'"{shown}"' if " " in shown else shown


ORDER = tuple(fields())
