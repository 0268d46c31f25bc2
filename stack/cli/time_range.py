"""The two moments that a command's time range is given by: `--since` and `--until`, or others."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

import typer

from stack.records.timestamps import parse_moment

SINCE_UNTIL = ("--since", "--until")
FROM_TO = ("--from", "--to")


def time_range(
    since: str,
    until: str,
    options: tuple[str, str] = SINCE_UNTIL,
    *,
    may_be_empty: bool = False,
) -> tuple[datetime, datetime]:
    """Start and end, in UTC. `may_be_empty` takes a start that is the end.

    Raises BadParameter for a text that is no moment, and for a range that holds none.
    """
    now = datetime.now(UTC)
    start, end = (
        _moment(option, text, now) for option, text in zip(options, (since, until), strict=True)
    )
    if start < end or (may_be_empty and start == end):
        return start, end
    names = ", ".join(options)
    if start == end:
        raise typer.BadParameter(
            f"wanted a start before the end, found {_shown(since, start)} for both. "
            f"Type an earlier {options[0]}, for example 1h",
            param_hint=names,
        )
    swapped = f"{options[0]} {shlex.quote(until)} {options[1]} {shlex.quote(since)}"
    raise typer.BadParameter(
        f"wanted a start before the end, found {_shown(since, start)} and then "
        f"{_shown(until, end)}. Type: {swapped}",
        param_hint=names,
    )


def _moment(option: str, text: str, now: datetime) -> datetime:
    try:
        return parse_moment(text, now).astimezone(UTC)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _shown(text: str, moment: datetime) -> str:
    return f"{text} ({moment.astimezone():%Y-%m-%d %H:%M:%S})"
