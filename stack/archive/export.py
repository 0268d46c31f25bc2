"""Brings the archive up to what the engine has: new hours, and what came late to older ones.

One step does everything: what the engine has of an hour, in order, less what the archive has of it.
A new hour, one that was archived while it was under way, one that got late records and one at which
an exporter was killed differ only in how much is left.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.metadata import version
from itertools import chain, pairwise

from stack.archive import ArchiveError
from stack.archive.context import Archive, OnProgress, no_progress
from stack.archive.failpoints import failpoint
from stack.archive.format.layout import DAY, HOUR, hour_of, hours, rfc3339
from stack.archive.format.manifest import Manifest, Part, add, largest, subtract
from stack.archive.format.ordering import beyond, in_batches, sorted_batches
from stack.archive.lifecycle import Expired, find_expired
from stack.archive.storage.ledger import HourState, Ledger
from stack.archive.storage.part_cache import NoCopyError
from stack.archive.storage.parts import fetch_lines, own_parts, store_parts
from stack.archive.suppression import Suppression
from stack.settings.units import parse_bytes, parse_duration

ATTEMPTS = 4
SORTED_AT_ONCE = 25_000  # records; about half of what ordering.RUN_BYTES holds of usual ones
# What every run looks through for late records where counting is costly.
RECENT = timedelta(days=2)
# With `--now`: records made this recently may still be on their way to the engine.
ON_THE_WAY = timedelta(seconds=5)


@dataclass
class Exported:
    """What a run did."""

    hours: int = 0
    late_hours: int = 0
    records: int = 0
    parts: int = 0
    raw_bytes: int = 0
    compressed_bytes: int = 0
    starts: list[datetime] = field(default_factory=list)


def run(
    archive: Archive, *, include_current: bool = False, on_progress: OnProgress = no_progress
) -> Exported:
    """Archive every complete hour, and with `include_current` the one under way up to now.

    Safe to be killed at any moment and to be run twice at once. Raises ArchiveError, EngineError.
    """
    result = Exported()
    with archive.alone():
        archive.prepare()
        ledger = archive.ledger()
        now = archive.now()
        if not archive.store.can_read:
            archive.remember(without_reader=rfc3339(now))
        lacking: list[str] = []
        for start, until, counts in due(archive, ledger, now, include_current):
            on_progress(f"{start:%Y-%m-%d %H}:00", "exporting")
            try:
                export_hour(archive, ledger, start, until, result, counts)
            except NoCopyError as error:  # no reason to leave other hours unarchived
                lacking.append(f"{rfc3339(start)}: {error}")
                continue
            on_progress(f"{start:%Y-%m-%d %H}:00", "archived")
        archive.remember(length=ledger.length, head=ledger.head)
        archive.copies.tidy(ledger.part_keys, hour_of(now - archive.lateness))
        if lacking:
            raise ArchiveError("\n".join(lacking))
        if looks_back(archive, now):
            archive.remember(looked_back=rfc3339(now))
        archive.remember(exported=rfc3339(now))
    return result


def due(
    archive: Archive, ledger: Ledger, now: datetime, include_current: bool
) -> list[tuple[datetime, datetime, dict[str, int] | None]]:
    """The hours that the archive lacks something of, up to when, in order, with the engine's counts
    where they are known.

    These are the hours since the last archived one, without a gap, and those that may still get
    records and whose count in the engine is another than in the archive. That is the lateness
    window; where counting is costly, two days of it, and all of it once a day.
    """
    settle = parse_duration(archive.settings.archive.settle)
    end = hour_of(now - settle)  # the hours before it are complete
    oldest = max(ledger.hours, default=None) or archive.engine.oldest()
    if oldest is None:
        return []
    late = archive.lateness if looks_back(archive, now) else min(archive.lateness, RECENT)
    since = hour_of(min(oldest, now - late) if ledger.hours else oldest)
    counts = archive.engine.hourly_counts(since, end)
    first = min([*ledger.hours, *counts], default=hour_of(oldest))
    found: list[tuple[datetime, datetime, dict[str, int] | None]] = []
    for start in hours(max(since, first), end):
        known = ledger.hours.get(start)
        there = counts.get(start, {})
        if known is None or not known.complete or _lacks(known, there):
            found.append((start, start + HOUR, there))
    if include_current:
        current = now - ON_THE_WAY  # engines count ranges of whole milliseconds
        current -= timedelta(microseconds=current.microsecond % 1000)
        found += [(start, min(start + HOUR, current), None) for start in hours(end, now)]
    return [item for item in found if item[1] > item[0]]


def looks_back(archive: Archive, now: datetime) -> bool:
    """Whether a run looks for late records in the whole lateness window."""
    last = archive.state().get("looked_back", "")
    recently = last and datetime.fromisoformat(last) > now - DAY
    return archive.engine.counts_are_cheap or not recently


def export_hour(
    archive: Archive,
    ledger: Ledger,
    start: datetime,
    until: datetime,
    result: Exported,
    counted: dict[str, int] | None = None,
) -> None:
    """Archive what is missing of [start, until), which lies in one hour. Raises ArchiveError.

    `counted`: what the engine has had of it at least.
    """
    failpoint("export-started")
    found: dict[str, int] = {}
    before: dict[str, int] = {}
    for attempt in range(ATTEMPTS):
        known = ledger.hours.get(start)
        first = counted if attempt == 0 else None
        before = _counts(archive, start, until) if first is None else first
        parts, suppressed = _write_missing(archive, ledger, known, (start, until), before)
        failpoint("parts-uploaded")
        after = _counts(archive, start, until)
        archived = add(known.streams if known else {}, *(part.streams for part in parts))
        found = add(archived, largest(suppressed, known.erased if known else {}))
        if not _within(before, found, after, again=known is not None):
            continue  # records came in between, or the answer was cut off: look again
        if known and not parts and (known.complete or until < start + HOUR):
            return  # nothing new, or another exporter has been here
        manifest = _manifest(archive, ledger, (start, until), parts, (after, archived, suppressed))
        if not ledger.write(manifest):
            ledger.refresh()  # another exporter was faster; what is missing now?
            if not _still_due(ledger, start, until, after):
                return
            continue
        failpoint("manifest-uploaded")
        _add_up(result, start, parts, known)
        return
    raise ArchiveError(
        f"{rfc3339(start)}: wanted the engine to deliver the {sum(before.values())} records that "
        f"it counts, found {sum(found.values())} in {ATTEMPTS} attempts. Nothing was sealed; "
        "the next run tries again"
    )


def archived_lines(archive: Archive, known: HourState) -> Iterator[bytes]:
    """Every line that the archive has of an hour, in order; of copies where it cannot be read.

    What has expired is not among them: late records of such an hour are archived with all that the
    engine has of it.
    """
    source = archive.store if archive.store.can_read else archive.copies
    expired = find_expired(archive, [known]) if archive.store.can_read else Expired()
    there = [part for key, part in known.parts.items() if key not in expired.parts]
    return heapq.merge(*(fetch_lines(source, part, archive.work) for part in there))


def _write_missing(
    archive: Archive,
    ledger: Ledger,
    known: HourState | None,
    window: tuple[datetime, datetime],
    counts: dict[str, int],
) -> tuple[list[Part], dict[str, int]]:
    """The parts of what the hour lacks, and what tombstones kept out of them, by stream."""
    start, until = window
    settings = archive.settings.archive
    records = sum(counts.values())
    batches = _in_order(archive, start, until, records) if records else iter(())
    suppression = Suppression(archive.key, archive.engine, ledger.erasures)
    if known or suppression.wanted:
        allowed = suppression.filter(chain.from_iterable(batches))
        missing = beyond(allowed, archived_lines(archive, known)) if known else allowed
        batches = in_batches(missing)
    parts = store_parts(
        archive.store,
        batches,
        own=own_parts(counts, settings.own_part),
        place=(archive.tenant, start, known.numbers if known else 0),
        folder=archive.work,
        part_bytes=parse_bytes(settings.part),
        level=settings.level,
        keep=archive.copies.keep if archive.keeps_copies() else None,
    )
    return parts, suppression.streams


def _in_order(
    archive: Archive, start: datetime, until: datetime, records: int
) -> Iterator[list[bytes]]:
    """What the engine has of [start, until), in order.

    So many records are asked for at a time that they are sorted in memory, unless they are long or
    all at one moment; then the disk helps.
    """
    pieces = max(1, records // SORTED_AT_ONCE)
    step = (until - start) / pieces
    edges = [*(start + number * step for number in range(pieces)), until]
    for since, before in pairwise(edges):
        yield from sorted_batches(archive.engine.export(since, before), archive.work)


def _manifest(
    archive: Archive,
    ledger: Ledger,
    window: tuple[datetime, datetime],
    parts: list[Part],
    counts: tuple[dict[str, int], dict[str, int], dict[str, int]],
) -> Manifest:
    start, until = window
    in_engine, archived, suppressed = counts
    known = ledger.hours.get(start)
    return Manifest(
        tenant=archive.tenant,
        sequence=ledger.length,
        previous_sha256=ledger.head,
        kind="hour",
        start=start,
        until=max(until, known.until) if known else until,
        complete=until == start + HOUR or (known is not None and known.complete),
        late=known is not None and known.complete,
        engine=archive.engine.name,
        engine_version=archive.engine.version(),
        exporter_version=version("logstack"),
        query=f"every record from {rfc3339(start)} to before {rfc3339(until)}",
        created=archive.now(),
        engine_records=sum(in_engine.values()),
        archived_records=sum(archived.values()),
        engine_streams=in_engine,
        archived_streams=archived,
        suppressed_streams=suppressed,
        parts=tuple(parts),
    )


def _counts(archive: Archive, start: datetime, until: datetime) -> dict[str, int]:
    return archive.engine.hourly_counts(start, until).get(start, {})


def _within(
    before: dict[str, int], found: dict[str, int], after: dict[str, int], *, again: bool
) -> bool:
    """Whether every stream has what the engine counted before, or more, up to what it has after.

    An hour that was archived before may hold more than the engine still has.
    """
    for stream in {*before, *found, *after}:
        count = found.get(stream, 0)
        if count < before.get(stream, 0):
            return False
        if count > after.get(stream, 0) and not again:
            return False
    return True


def _lacks(known: HourState, counts: dict[str, int]) -> bool:
    """Whether the engine has more of a stream than the archive has or had erased."""
    accounted = add(known.streams, known.erased)
    return any(count > 0 for count in subtract(counts, accounted).values())


def _still_due(ledger: Ledger, start: datetime, until: datetime, counts: dict[str, int]) -> bool:
    """Whether something is missing after another exporter has been here."""
    known = ledger.hours.get(start)
    return known is None or known.until < until or _lacks(known, counts)


def _add_up(result: Exported, start: datetime, parts: list[Part], known: HourState | None) -> None:
    result.hours += 1
    result.late_hours += known is not None and known.complete
    result.records += sum(part.records for part in parts)
    result.parts += len(parts)
    result.raw_bytes += sum(part.raw_bytes for part in parts)
    result.compressed_bytes += sum(part.compressed_bytes for part in parts)
    result.starts.append(start)


__all__ = ["Exported", "archived_lines", "due", "export_hour", "run"]
