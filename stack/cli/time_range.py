"""The clock and the time range of a command: `--since` and `--until`, or `--from` and `--to`."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

import typer
from typer._click.globals import get_current_context

from stack.records.timestamps import Clock, parse_moment, utc_now

SINCE_UNTIL = ("--since", "--until")
FROM_TO = ("--from", "--to")


def clock() -> Clock:
    """The clock of the command under way, which `run` of stack/cli/main.py was called with."""
    context = get_current_context(silent=True)
    found: Clock | None = context.obj if context else None
    return found or utc_now


def time_range(
    since: str,
    until: str,
    options: tuple[str, str] = SINCE_UNTIL,
    *,
    may_be_empty: bool = False,
) -> tuple[datetime, datetime]:
    """Start and end, in UTC. With `may_be_empty` they may be equal.

    Raises BadParameter for a text that is not a time, and for a start after the end.
    """
    now = clock()()
    start, end = (
        _moment(option, text, now) for option, text in zip(options, (since, until), strict=True)
    )
    if start < end or (may_be_empty and start == end):
        return start, end
    names = ", ".join(options)
    if start == end:
        raise typer.BadParameter(
            f"expected a start before the end, got {_describe(since, start)} for both. "
            f"Use an earlier {options[0]}, for example 1h",
            param_hint=names,
        )
    swapped = f"{options[0]} {shlex.quote(until)} {options[1]} {shlex.quote(since)}"
    raise typer.BadParameter(
        f"expected a start before the end, got {_describe(since, start)} and "
        f"{_describe(until, end)}. Use: {swapped}",
        param_hint=names,
    )


def _moment(option: str, text: str, now: datetime) -> datetime:
    try:
        return parse_moment(text, now).astimezone(UTC)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _describe(text: str, moment: datetime) -> str:
    return f"{text} ({moment.astimezone():%Y-%m-%d %H:%M:%S})"
