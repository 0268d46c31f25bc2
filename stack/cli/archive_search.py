"""`logstack archive search`, `restore` and `unrestore`: archived records are read."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer

from stack.archive import restore, search
from stack.cli.archive_group import (
    From,
    To,
    field_and_value,
    group,
    note_expired,
    open_archive,
    running_target,
)
from stack.cli.console import AsJson, note, out, print_json, progress
from stack.cli.filters import Grep, JsonLines, Level, RequestId, Service, selection_of
from stack.cli.record_format import print_record
from stack.cli.time_range import FROM_TO, time_range
from stack.common.counted import counted
from stack.components.catalogue import by_name
from stack.engines.kinds import kind_of
from stack.runtimes.work_lock import work_lock
from stack.settings.units import format_bytes


@group.command("search")
def find(
    since: From = "365d",
    until: To = "now",
    service: Service = "",
    level: Level = "",
    request_id: RequestId = "",
    match: Annotated[list[str] | None, typer.Option(help="Only records with field=value.")] = None,
    grep: Grep = "",
    number: Annotated[int, typer.Option("-n", min=1, help="At most this many.")] = 1000,
    as_json: JsonLines = False,
) -> None:
    """Search the archive without a restore, oldest records first.

    Example: logstack archive search --from 2026-01-31 --to 2026-02-01 --level ERROR
    """
    exact = {"service_name": service, "request_id": request_id}
    exact |= dict(field_and_value("--match", text) for text in match or [])
    selection = selection_of(time_range(since, until, FROM_TO), level, grep, exact)
    found = 0
    expired: list[int] = []
    with (
        open_archive() as archive,
        progress() as display,
        closing(
            search.run(
                archive,
                selection,
                limit=number + 1,
                on_progress=display.update,
                on_expired=expired.append,
            )
        ) as records,
    ):
        for record in records:
            if found == number:
                note(f"Showing the oldest {counted(number, 'record')}; -n shows more.", "dim")
                break
            found += 1
            display.stop_on_terminal()
            print_record(record, as_json)
    if not found:
        note("No archived records match.", "dim")
    note_expired(archive, sum(expired))


@group.command("restore")
def bring_back(
    since: From,
    until: To,
    service_name: Annotated[
        list[str] | None, typer.Option("--service", help="Only this service; can be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print only the estimate.")] = False,
    as_json: AsJson = False,
) -> None:
    """Restore archived records into a second engine.

    Example: logstack archive restore --from 2026-01-31 --to 2026-02-01
    """
    from stack.runtimes import native  # heavy, and only this needs it

    start, end = time_range(since, until, FROM_TO)
    scope = restore.RestoreFilter(start, end, frozenset(service_name or []))
    with open_archive() as archive:
        planned = restore.estimate(archive, scope)
        note(
            f"{counted(planned.records, 'record')} of {counted(planned.hours, 'hour')}, "
            f"{format_bytes(planned.compressed_bytes)} to read, "
            f"{format_bytes(planned.raw_bytes)} of lines, about {max(1, round(planned.seconds))} s."
        )
        note_expired(archive, planned.expired_hours)
        if dry_run:
            if as_json:
                print_json(asdict(planned))
            return
        with progress() as display:
            kind = kind_of(archive.settings)
            if by_name(kind.restored_component).on_demand:
                with work_lock(archive.settings, "archive restore", note):
                    native.ensure_started(archive.settings, kind.restored_component, display.update)
            result = restore.run(archive, scope, on_progress=display.update)
    if as_json:
        print_json(asdict(result))
        return
    out.print(
        f"{counted(result.records, 'record')} restored, {result.present} in the engine. Read "
        "them with"
    )
    out.print(f"  ./logstack logs --restored --since {since} --until {until}")
    out.print("and delete them with\n  ./logstack archive unrestore")


@group.command("unrestore")
def drop_restored() -> None:
    """Delete all restored records; the archive keeps them.

    Example: logstack archive unrestore
    """
    from stack.runtimes import native  # slow to import, and needed here alone

    values = running_target().settings
    kind = kind_of(values)
    if not kind.restored_tenant:
        with work_lock(values, "archive unrestore", note):
            native.empty(values, kind.restored_component)
        note("The engine for restored records is empty.")
        return
    with open_archive() as archive:
        days = restore.drop_days(archive)
    note(f"Loki deletes {len(days)} restored days: it hides them within five minutes and frees")
    note("their disk space some hours later. A restore before that cancels the deletion.")
