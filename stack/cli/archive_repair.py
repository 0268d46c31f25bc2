"""`logstack archive repair` and `hold`: parts are brought back and protected."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from stack.archive import ArchiveError, repair
from stack.archive.lifecycle import find_expired
from stack.archive.verify import NOT_IN_STORE
from stack.cli.archive_group import From, To, group, note_expired, open_archive
from stack.cli.console import AsJson, note, out, plain, print_json
from stack.cli.time_range import FROM_TO, time_range
from stack.common.counted import counted


@group.command("repair")
def repair_store(as_json: AsJson = False) -> None:
    """Delete what was stored over parts and manifests, and store again what this machine has.

    Example: logstack archive repair
    """
    with open_archive() as archive:
        result = repair.run(archive)
    if as_json:
        print_json(asdict(result))
    else:
        for what, keys in asdict(result).items():
            for key in keys:
                out.print(plain(f"{what}: {key}"))
        note("See what is left with: ./logstack archive verify --deep", "dim")
    if result.kept:
        raise typer.Exit(1)


@group.command("hold")
def hold(
    since: From,
    until: To,
    off: Annotated[bool, typer.Option("--off", help="Release the hold.")] = False,
) -> None:
    """Protect archived parts from deletion by a legal hold.

    Example: logstack archive hold --from 2026-01-31 --to 2026-02-01
    """
    start, end = time_range(since, until, FROM_TO)
    count = 0
    missing: list[str] = []
    with open_archive() as archive:
        hours = list(archive.ledger().between(start, end))
        expired = find_expired(archive, hours)
        for hour in hours:
            for key in hour.parts:
                versions = archive.store.versions_of(key)
                for version in versions:
                    archive.store.hold(key, version, not off)
                    count += 1
                if not versions and key not in expired.parts:
                    missing.append(key)
    note_expired(archive, expired.hours)
    if missing:
        raise ArchiveError(
            f"cannot {'release' if off else 'hold'} {', '.join(missing)}: {NOT_IN_STORE}; {count} "
            f"other parts are {'released' if off else 'held'}. Run: ./logstack archive verify"
        )
    if not count:
        raise ArchiveError(
            f"cannot {'release' if off else 'hold'} parts from {since} to {until}: there are none. "
            "Run: ./logstack archive run --now"
        )
    note(f"{counted(count, 'part is', 'parts are')} {'released' if off else 'held'}.")
