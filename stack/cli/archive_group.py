"""What the commands `logstack archive ...` share: their group and the archive of this checkout."""

from __future__ import annotations

from typing import Annotated

import typer

from stack import settings
from stack.archive import ArchiveError
from stack.archive.context import Archive, open_native
from stack.archive.lifecycle import describe
from stack.cli.console import note
from stack.cli.time_range import clock
from stack.settings.targets import Target, read_started_settings
from stack.settings.targets import native as native_target

From = Annotated[str, typer.Option("--from", help="Start: a duration ago (7d) or a time.")]
To = Annotated[str, typer.Option("--to", help="End: a duration ago, a time, or now.")]

group = typer.Typer(
    help="The one-year archive: export, verify, search, restore, erase.", no_args_is_help=True
)


def open_archive() -> Archive:
    """The archive of this checkout's stack."""
    return open_native(running_target(), clock())


def running_target() -> Target:
    """The target of this checkout's stack. Raises ArchiveError for Docker, which has no archive."""
    values = settings.load()
    if read_started_settings(values, "docker"):
        raise ArchiveError(
            "cannot open the archive: the Docker runtime has none, its engine keeps records for "
            "retention.hot_days. Run: make down && RUNTIME=native make up"
        )
    return native_target(read_started_settings(values, "native") or values)


def note_expired(archive: Archive, hours: int) -> None:
    """Print how many hours of the range are no longer in the archive, if any."""
    if hours:
        note(describe(archive, hours), "yellow")


def field_and_value(option: str, text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not (name and value):
        raise typer.BadParameter(f"expected field=value, got {text!r}", param_hint=option)
    return name, value
