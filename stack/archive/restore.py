"""Brings archived hours back into a second engine, beside the hot records and never among them.

What an hour lacks there is found by comparison, as in the export: a restore that was killed, or one
of some services followed by one of all, goes on without doubling anything.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from stack.archive import ArchiveError
from stack.archive.context import Archive, OnProgress, no_progress
from stack.archive.failpoints import failpoint
from stack.archive.format import lines
from stack.archive.format.layout import HOUR, rfc3339
from stack.archive.format.manifest import Part
from stack.archive.format.ordering import beyond, in_order
from stack.archive.lifecycle import find_expired
from stack.archive.storage.ledger import HourState, Ledger
from stack.archive.storage.parts import fetch_lines, service_of
from stack.archive.suppression import Suppression
from stack.records.timestamps import nanoseconds

# Measured by bench/archive.py on two busy cores; the estimate before a restore is made with it.
RECORDS_PER_SECOND = 10_000


@dataclass(frozen=True)
class Wanted:
    """Which records: those of [since, until), of some services or (empty) of all."""

    since: datetime
    until: datetime
    services: frozenset[str] = frozenset()

    def takes(self, part: Part) -> bool:
        first, last = nanoseconds(self.since), nanoseconds(self.until)
        in_time = int(part.first_ns) < last and int(part.last_ns) >= first
        return in_time and (not self.services or not self.services.isdisjoint(part.services))


@dataclass(frozen=True)
class Estimate:
    """What a restore has to read: whole parts, so records and raw bytes are upper bounds.

    `expired_hours` are those of the range that are no longer in the archive, not among `hours`.
    """

    hours: int
    parts: int
    records: int
    raw_bytes: int
    compressed_bytes: int
    seconds: float
    expired_hours: int


@dataclass
class Restored:
    """What a restore did; `records` are those put in now, `present` those there afterwards.

    `expired_hours` are those of the range that are no longer in the archive.
    """

    hours: int = 0
    records: int = 0
    present: int = 0
    expired_hours: int = 0


def estimate(archive: Archive, wanted: Wanted) -> Estimate:
    """What a restore would read and how long it takes about. Raises ArchiveError."""
    chosen, expired_hours = _chosen(archive, archive.ledger(), wanted)
    parts = [part for _, parts in chosen for part in parts]
    records = sum(part.records for part in parts)
    return Estimate(
        hours=len(chosen),
        parts=len(parts),
        records=records,
        raw_bytes=sum(part.raw_bytes for part in parts),
        compressed_bytes=sum(part.compressed_bytes for part in parts),
        seconds=records / RECORDS_PER_SECOND,
        expired_hours=expired_hours,
    )


def run(archive: Archive, wanted: Wanted, *, on_progress: OnProgress = no_progress) -> Restored:
    """Restore into `archive.restored`. Raises ArchiveError, also when counts differ afterwards."""
    result = Restored()
    with archive.alone("restore"):
        ledger = archive.ledger()
        chosen, result.expired_hours = _chosen(archive, ledger, wanted)
        archive.restored.keep(wanted.since, wanted.until)
        for hour, parts in chosen:
            name = f"{hour.start:%Y-%m-%d %H}:00"
            on_progress(name, "restoring")
            _restore_hour(archive, ledger, hour, parts, wanted, result)
            failpoint("hour-restored")
            on_progress(name, "restored")
    return result


def _chosen(
    archive: Archive, ledger: Ledger, wanted: Wanted
) -> tuple[list[tuple[HourState, list[Part]]], int]:
    """The hours and parts to read, and how many hours of the range have expired."""
    hours = list(ledger.between(wanted.since, wanted.until))
    expired = find_expired(archive, hours)
    found = []
    for hour in hours:
        there = [part for key, part in hour.parts.items() if key not in expired.parts]
        if parts := [part for part in there if wanted.takes(part)]:
            found.append((hour, parts))
    return found, expired.hours


def _restore_hour(
    archive: Archive,
    ledger: Ledger,
    hour: HourState,
    parts: list[Part],
    wanted: Wanted,
    result: Restored,
) -> None:
    """Insert what the hour lacks and compare the counts of its streams."""
    if hour.engine != archive.restored.name:
        raise ArchiveError(
            f"{rfc3339(hour.start)}: it was archived from {hour.engine} and cannot be restored "
            f"into {archive.restored.name}; `./logstack archive search` reads it"
        )
    failpoint("restore-started")
    counted: dict[str, int] = {}
    suppression = Suppression(archive.key, archive.restored, ledger.erasures)
    merged = heapq.merge(*(fetch_lines(archive.store, part, archive.work) for part in parts))
    ours = _count(suppression.filter(_within(merged, wanted)), counted)
    there = archive.restored.hourly_counts(hour.start, hour.start + HOUR).get(hour.start, {})
    missing = ours
    if there:
        exported = archive.restored.export(hour.start, hour.start + HOUR)
        missing = beyond(ours, in_order(exported, archive.work))
    inserted: dict[str, int] = {}
    archive.restored.insert(_count(missing, inserted))
    there = archive.restored.hourly_counts(hour.start, hour.start + HOUR).get(hour.start, {})
    for stream, count in counted.items():
        if there.get(stream, 0) < count:
            raise ArchiveError(
                f"{rfc3339(hour.start)}: wanted {count} records of {stream} in the engine for "
                f"restored records, found {there.get(stream, 0)}. Run the same command again"
            )
    whole = len(parts) == len(hour.parts)  # none has expired
    whole &= not wanted.services and wanted.since <= hour.start and wanted.until >= hour.until
    if whole and sum(counted.values()) + sum(suppression.streams.values()) != hour.records:
        raise ArchiveError(
            f"{rfc3339(hour.start)}: wanted the {hour.records} records that the manifests say, "
            f"found {sum(counted.values())} in the parts. Type: ./logstack archive verify --deep"
        )
    result.hours += 1
    result.records += sum(inserted.values())
    result.present += sum(counted.values())


def _within(stored: Iterator[bytes], wanted: Wanted) -> Iterator[bytes]:
    first, last = nanoseconds(wanted.since), nanoseconds(wanted.until)
    services: dict[bytes, bool] = {}
    for line in stored:
        if not first <= lines.timestamp(line) < last:
            continue
        stream = lines.stream(line)
        if stream not in services:
            service = service_of(stream.decode("utf-8", "replace"))
            services[stream] = not wanted.services or service in wanted.services
        if services[stream]:
            yield line


def _count(stored: Iterator[bytes], counts: dict[str, int]) -> Iterator[bytes]:
    """The same lines, counted by stream as they pass."""
    for line in stored:
        stream = lines.stream(line).decode("utf-8", "replace")
        counts[stream] = counts.get(stream, 0) + 1
        yield line


def drop_days(archive: Archive) -> list[datetime]:
    """Let the engine for restored records forget every archived day that it has; those days."""
    starts = archive.ledger().hours
    if not starts:
        return []
    with archive.alone("restore"):
        found = archive.restored.days_within(min(starts), max(starts) + HOUR)
        for day in found:
            archive.restored.drop_day(day)
    return found
