"""The filters of the commands that read records, each declared once."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

import typer

from stack.engines import Selection
from stack.records.contract import LEVELS

Service = Annotated[str, typer.Option(help="Only this service.")]
Level = Annotated[str, typer.Option(help="This level and above.")]
RequestId = Annotated[str, typer.Option(help="Only this request_id.")]
Grep = Annotated[str, typer.Option(help="Regular expression in message or traceback.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]

# In Python's words: what no engine takes either.
OPEN = ("unterminated", "unbalanced", "nothing to repeat")


def selection_of(
    times: tuple[datetime, datetime], level: str, grep: str, matches: dict[str, str]
) -> Selection:
    """What the options select; empty values do not filter. Raises BadParameter.

    Engines know expressions that Python does not, so that only what is open in both is refused.
    """
    if level and level.upper() not in LEVELS:
        raise typer.BadParameter(
            f"expected one of {', '.join(LEVELS)}, got {level!r}", param_hint="--level"
        )
    try:
        re.compile(grep)
    except re.error as error:
        if any(word in str(error) for word in OPEN):
            raise typer.BadParameter(
                f"expected a regular expression, got {grep!r}: {error}", param_hint="--grep"
            ) from None
    since, until = times
    return Selection(
        since=since,
        until=until,
        level=level.upper(),
        grep=grep,
        matches={name: value for name, value in matches.items() if value},
    )
