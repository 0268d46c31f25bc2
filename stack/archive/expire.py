"""Lets days leave the hot engine: only those whose archive is complete and was verified.

The engine's own retention is longer by retention.margin_days and only the last resort. A day is
verified once, after the last moment at which a record of it may arrive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stack.archive import ArchiveError
from stack.archive import early_expiry as shorter
from stack.archive.context import Archive, OnProgress, no_progress
from stack.archive.export import Exported, export_hour
from stack.archive.failpoints import failpoint
from stack.archive.format.layout import DAY, HOUR, hours, manifest_key
from stack.archive.format.manifest import add, parse, subtract
from stack.archive.storage.ledger import Ledger
from stack.archive.storage.part_cache import NoCopyError
from stack.archive.storage.store import WITH_READER, MissingError
from stack.archive.verify import NOT_THERE, check_part
from stack.settings.units import parse_bytes


@dataclass
class Gate:
    """What the gate found and did, days as `2026-01-31`.

    `kept` are over their time and unverified; `shortened` counts records that leave before the day.
    """

    verified: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    dropped_for_space: list[str] = field(default_factory=list)
    kept: dict[str, list[str]] = field(default_factory=dict)
    shortened: dict[str, int] = field(default_factory=dict)


def run(archive: Archive, *, on_progress: OnProgress = no_progress) -> Gate:
    """Verify days that are final, then drop those over their time or too much for the disk.

    Raises ArchiveError, EngineError.
    """
    gate = Gate()
    with archive.alone():
        ledger = archive.ledger()
        for day in archive.engine.days():
            name = f"{day:%Y-%m-%d}"
            if name in verified_days(archive) or not is_final(archive, day):
                continue
            on_progress(name, "verifying")
            if problems := check_day(archive, ledger, day):
                if is_over(archive, day):
                    gate.kept[name] = problems
                continue
            _remember(archive, name)
            gate.verified.append(name)
            failpoint("day-verified")
        for day in archive.engine.days():
            name = f"{day:%Y-%m-%d}"
            if not is_over(archive, day):
                _drop_early(archive, ledger, day, gate)
                continue
            if name not in verified_days(archive):
                gate.kept.setdefault(name, ["it is not final yet"])
            elif problems := _archive_latest(archive, ledger, day):
                gate.kept[name] = problems
            elif _drop(archive, day):
                gate.dropped.append(name)
        _make_room(archive, ledger, gate)
    return gate


def _drop_early(archive: Archive, ledger: Ledger, day: datetime, gate: Gate) -> None:
    """Drop the records of a verified day that retention.shorter keeps for fewer days."""
    name = f"{day:%Y-%m-%d}"
    kinds = shorter.due(archive, day)
    if not kinds or name not in verified_days(archive):
        return
    count = archive.engine.count_of(day, kinds)
    if not count:
        shorter.remember(archive, day, kinds, shorter.GONE)
    elif problems := _archive_latest(archive, ledger, day):
        gate.kept[name] = problems
    else:
        shorter.remember(archive, day, kinds, shorter.ASKED)
        failpoint("records-due")
        if archive.engine.drop_records(day, kinds):
            gate.shortened[name] = count


def check_day(archive: Archive, ledger: Ledger, day: datetime) -> list[str]:
    """Why a day may not leave the engine; nothing when all of it can be read back and counted.

    Nothing here asks a listing: what counts is what the store gives.
    """
    if not archive.store.can_read:
        return [f"wanted the reader's key to read it back, found none. Type: {WITH_READER}"]
    problems = uncounted(archive, ledger, day)
    for start in hours(day, day + DAY):
        known = ledger.hours.get(start)
        problems += _unreadable_manifests(archive, known.manifests if known else [])
        for part in known.parts.values() if known else ():
            problems += [problem.text for problem in check_part(archive, part)]
    return problems


def _unreadable_manifests(archive: Archive, numbers: list[int]) -> list[str]:
    """What is wrong with manifests as the store gives them; this machine's cache has them too."""
    problems = []
    for number in numbers:
        key = manifest_key(archive.tenant, number)
        try:
            found = parse(archive.store.get(key), archive.key.public_key())
        except MissingError:
            problems.append(f"{key}: {NOT_THERE}")
        except ArchiveError as error:
            problems.append(f"{key}: {error}")
        else:
            if found.sequence != number:
                problems.append(f"{key}: it holds the manifest number {found.sequence}")
    return problems


def _archive_latest(archive: Archive, ledger: Ledger, day: datetime) -> list[str]:
    """Archive what came to a verified day since, however late; what is wrong with it then."""
    if not uncounted(archive, ledger, day):
        return []
    try:
        for start in hours(day, day + DAY):
            export_hour(archive, ledger, start, start + HOUR, Exported())
    except NoCopyError as error:
        return [str(error)]
    archive.remember(length=ledger.length, head=ledger.head)
    return check_day(archive, ledger, day)


def uncounted(archive: Archive, ledger: Ledger, day: datetime) -> list[str]:
    """What the engine has of a day and the archive does not, by counts."""
    counts = archive.engine.hourly_counts(day, day + DAY)
    problems = []
    for start in hours(day, day + DAY):
        in_engine = counts.get(start, {})
        known = ledger.hours.get(start)
        if known is None:
            if in_engine:
                problems.append(f"{start:%H}:00 is not archived")
            continue
        if not known.complete:
            problems.append(f"{start:%H}:00 is not archived to its end")
        if any(n > 0 for n in subtract(in_engine, add(known.streams, known.erased)).values()):
            problems.append(f"{start:%H}:00 lacks records that the engine has")
    return problems


def is_final(archive: Archive, day: datetime) -> bool:
    """Whether no record of the day can arrive any more."""
    return day + DAY + archive.lateness <= archive.now()


def is_over(archive: Archive, day: datetime) -> bool:
    """Whether the whole day is older than retention.hot_days."""
    return day + DAY + timedelta(days=archive.settings.retention.hot_days) <= archive.now()


def forced(archive: Archive, day: datetime) -> datetime:
    """When the engine deletes the day, archived or not."""
    retention = archive.settings.retention
    return day + DAY + timedelta(days=retention.engine_days(archived=True))


def verified_days(archive: Archive) -> dict[str, str]:
    """The days verified on this machine, with the moment."""
    return dict(archive.state().get("verified", {}))


def _remember(archive: Archive, name: str) -> None:
    archive.remember(verified={**verified_days(archive), name: _moment(archive)})


def _drop(archive: Archive, day: datetime) -> bool:
    """Let the engine drop a day, remembered first: nobody is to take its absence for a loss."""
    name, known = f"{day:%Y-%m-%d}", archive.dropped_days()
    if name not in known:
        archive.remember(dropped={**known, name: _moment(archive)})
    failpoint("day-due")
    return archive.engine.drop_day(day)


def _moment(archive: Archive) -> str:
    return archive.now().isoformat(timespec="seconds")


def _make_room(archive: Archive, ledger: Ledger, gate: Gate) -> None:
    """Drop verified days, the oldest first, while the engine is over limits.hot_disk.

    Where the room of a dropped day becomes free later, the next day waits for that.
    """
    limit = parse_bytes(archive.settings.limits.hot_disk)
    engine = archive.engine
    while limit and not engine.is_freeing() and engine.disk_bytes() > limit:
        verified = verified_days(archive)
        droppable = [
            day
            for day in engine.days()
            if f"{day:%Y-%m-%d}" in verified and not uncounted(archive, ledger, day)
        ]
        if not droppable:
            return
        _drop(archive, droppable[0])
        gate.dropped_for_space.append(f"{droppable[0]:%Y-%m-%d}")
