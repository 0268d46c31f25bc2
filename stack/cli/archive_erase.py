"""`logstack archive erase` and `erasures`: records are erased for good."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer

from stack.archive import erase, export, person
from stack.archive.context import Archive, open_native
from stack.cli.archive_group import (
    field_and_value,
    group,
    note_expired,
    open_archive,
    running_target,
)
from stack.cli.console import AsJson, Yes, confirm, note, out, plain, print_json, progress
from stack.cli.time_range import clock
from stack.common.counted import counted
from stack.components.catalogue import by_name
from stack.engines.kinds import kind_of
from stack.runtimes.local_store import free_erased
from stack.runtimes.work_lock import work_lock
from stack.settings.targets import Target

ONE_OF = "expected either --match or --person"
MOST_SHOWN = 20


@group.command("erase")
def forget(
    reason: Annotated[str, typer.Option(help="Why; stored permanently in the tombstone.")],
    match: Annotated[str, typer.Option(help="field=value of the records to erase.")] = "",
    whose: Annotated[
        str, typer.Option("--person", help="field=value of a person, also in the engine.")
    ] = "",
    future: Annotated[
        bool, typer.Option("--future", help="Never archive such records again, either.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Erase records where locks allow it; a tombstone remains.

    A person's names and sessions are followed, shown and erased with it.

    Example: logstack archive erase --person user_id=123 --reason "request of 2026-01-31"
    """
    if bool(match) == bool(whose):
        raise typer.BadParameter(ONE_OF, param_hint="--match")
    if not reason.strip():
        raise typer.BadParameter("expected a reason, got nothing", param_hint="--reason")
    given = field_and_value("--person" if whose else "--match", whose or match)
    target = running_target()
    with open_native(target, clock()) as archive:
        matches = _matches_of(archive, given, yes) if whose else (given,)
        try:
            with progress() as display:
                request = erase.Request(matches, reason, future)
                result = erase.run(archive, request, on_progress=display.update)
        finally:  # also where only some records could be erased
            remains = free_erased(target)
        kept = dict(_erase_in_engines(archive, target, matches)) if whose else {}
    note_expired(archive, result.expired_hours)
    if as_json:
        print_json({**asdict(result), "remains": remains, "engines": kept})
        return
    out.print(
        f"Erased {counted(result.records, 'record')} of {counted(result.hours, 'hour')}; "
        f"deleted {counted(len(result.deleted), 'object')}."
    )
    out.print(remains or "Nothing of them is left on the local store's disk.")
    if result.filters:
        out.print(
            f"Manifests, which are never changed, keep {counted(result.filters, 'filter')} of "
            "request and trace ids: who has such an id can see that its hour may have had it."
        )
    for name, text in kept.items():
        out.print(f"{name}: {text or 'the records are deleted'}.")
    if not whose:
        out.print("The engine keeps its copy until it expires; restored records stay until")
        out.print("  ./logstack archive unrestore")


def _matches_of(archive: Archive, given: person.Match, yes: bool) -> tuple[person.Match, ...]:
    """What is erased with a person, once it is shown and confirmed. Raises Exit where it is not.

    Archives what the engine has first: an id may be in a record of just now.
    """
    with progress() as display:
        export.run(archive, include_current=True, on_progress=display.update)
        found = person.find(archive, *given, on_progress=display.update)
    by_field: dict[str, list[person.Match]] = {}
    for item in found.matches:
        by_field.setdefault(item[0], []).append(item)
    for name, items in by_field.items():
        for item in items[:MOST_SHOWN]:
            note(f"{name}={item[1]}: {counted(found.matches[item], 'record')}")
        if len(items) > MOST_SHOWN:
            note(f"{name}: {len(items) - MOST_SHOWN} further values")
    for name, value in sorted(found.shared):
        note(f"{name}={value}: others have it, too; not erased", "yellow")
    for service, count in found.services.most_common():
        note(f"of {service or 'no service'}: {counted(count, 'record')}", "dim")
    confirm("Erase all of these?", yes, "erase them", "./logstack archive erase ... --yes")
    return tuple(found.matches)


def _erase_in_engines(
    archive: Archive, target: Target, matches: tuple[person.Match, ...]
) -> Iterator[tuple[str, str]]:
    """Delete a person's records in the engine and in the one for restored records."""
    until = archive.now()
    yield "The engine", person.erase_in_engine(archive.engine, matches, until)
    restored = kind_of(archive.settings).restored_component
    if by_name(restored).on_demand:
        folder = target.storage_dir(restored)
        if not folder.is_dir() or not any(folder.iterdir()):
            return
        from stack.runtimes import native  # heavy, and only this needs it

        with work_lock(archive.settings, "archive erase", note), progress() as display:
            native.ensure_started(archive.settings, restored, display.update)
    yield (
        "The engine for restored records",
        person.erase_in_engine(archive.restored, matches, until),
    )


@group.command("erasures")
def list_erasures(as_json: AsJson = False) -> None:
    """List the tombstones, and which records they keep out of the archive.

    Example: logstack archive erasures
    """
    with open_archive() as archive:
        found = erase.erasures(archive)
    if as_json:
        print_json(found)
        return
    for item in found:
        until = f"before {item['excludes_until']}" if item["excludes_until"] else "of any time"
        text = (
            f"{item['created']}  {item['field']}, records: {item['records']}, {item['reason']!r}; "
            f"excludes records {until}"
        )
        out.print(plain(text))
    if not found:
        note("Nothing was erased.", "dim")
