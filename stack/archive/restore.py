"""Restores archived hours into a second engine, apart from the hot records.

As in the export, only what that engine lacks of an hour is inserted: a killed restore, or one of
some services followed by one of all, continues without duplicates.
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
from stack.archive.format.layout import HOUR, hour_name, rfc3339
from stack.archive.format.manifest import Counts, Part
from stack.archive.format.ordering import difference, in_order
from stack.archive.lifecycle import find_expired
from stack.archive.storage.ledger import HourState, Ledger
from stack.archive.storage.parts import fetch_lines, service_of
from stack.archive.suppression import Suppression
from stack.common.counted import counted
from stack.records.timestamps import nanoseconds

# Measured by bench/archive.py on two busy cores; used for the estimate before a restore.
RECORDS_PER_SECOND = 10_000


@dataclass(frozen=True)
class RestoreFilter:
    """The records of [since, until), of some services or (empty) of all."""

    since: datetime
    until: datetime
    services: frozenset[str] = frozenset()

    def takes(self, part: Part) -> bool:
        first, last = nanoseconds(self.since), nanoseconds(self.until)
        return part.overlaps(first, last) and (
            not self.services or not self.services.isdisjoint(part.services)
        )


@dataclass(frozen=True)
class Estimate:
    """What a restore has to read: whole parts, so records and raw bytes are upper bounds.

    `expired_hours` of the range are no longer in the archive, and not among `hours`.
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
    """What a restore did: `records` were inserted, `present` are in the engine afterwards.

    `expired_hours` of the range are no longer in the archive.
    """

    hours: int = 0
    records: int = 0
    present: int = 0
    expired_hours: int = 0


def estimate(archive: Archive, scope: RestoreFilter) -> Estimate:
    """What a restore would read, and about how long it takes. Raises ArchiveError."""
    selected, expired_hours = _select(archive, archive.ledger(), scope)
    parts = [part for _, parts in selected for part in parts]
    records = sum(part.records for part in parts)
    return Estimate(
        hours=len(selected),
        parts=len(parts),
        records=records,
        raw_bytes=sum(part.raw_bytes for part in parts),
        compressed_bytes=sum(part.compressed_bytes for part in parts),
        seconds=records / RECORDS_PER_SECOND,
        expired_hours=expired_hours,
    )


def run(
    archive: Archive, scope: RestoreFilter, *, on_progress: OnProgress = no_progress
) -> Restored:
    """Restore into `archive.restored`. Raises ArchiveError, also when counts differ afterwards."""
    result = Restored()
    with archive.exclusive_lock("restore"):
        ledger = archive.ledger()
        selected, result.expired_hours = _select(archive, ledger, scope)
        archive.restored.prepare_restore(scope.since, scope.until)
        for hour, parts in selected:
            name = hour_name(hour.start)
            on_progress(name, "restoring")
            _restore_hour(archive, ledger, hour, parts, scope, result)
            failpoint("hour-restored")
            on_progress(name, "restored")
    return result


def _select(
    archive: Archive, ledger: Ledger, scope: RestoreFilter
) -> tuple[list[tuple[HourState, list[Part]]], int]:
    """The hours and parts to read, and how many hours of the range have expired."""
    hours = list(ledger.between(scope.since, scope.until))
    expired = find_expired(archive, hours)
    found = []
    for hour in hours:
        if parts := [part for part in expired.remaining(hour) if scope.takes(part)]:
            found.append((hour, parts))
    return found, expired.hours


def _restore_hour(
    archive: Archive,
    ledger: Ledger,
    hour: HourState,
    parts: list[Part],
    scope: RestoreFilter,
    result: Restored,
) -> None:
    """Insert what the engine lacks of the hour and compare the counts of its streams."""
    if hour.engine != archive.restored.name:
        raise ArchiveError(
            f"cannot restore {rfc3339(hour.start)} into {archive.restored.name}: it was archived "
            f"from {hour.engine}. Run: ./logstack archive search"
        )
    failpoint("restore-started")
    streams: Counts = {}
    suppression = Suppression(archive.key, archive.restored.name, ledger.erasures)
    merged = heapq.merge(*(fetch_lines(archive.store, part, archive.work) for part in parts))
    archived = _count(suppression.filter(_within(merged, scope)), streams)
    present = archive.restored.hourly_counts(hour.start, hour.start + HOUR).get(hour.start, {})
    missing = archived
    if present:
        exported = archive.restored.export(hour.start, hour.start + HOUR)
        missing = difference(archived, in_order(exported, archive.work))
    inserted: Counts = {}
    archive.restored.insert(_count(missing, inserted))
    present = archive.restored.hourly_counts(hour.start, hour.start + HOUR).get(hour.start, {})
    for stream, count in streams.items():
        if present.get(stream, 0) < count:
            raise ArchiveError(
                f"cannot restore {rfc3339(hour.start)}: expected {counted(count, 'record')} of "
                f"{stream} in the engine, got {present.get(stream, 0)}. Run the same command again"
            )
    whole = len(parts) == len(hour.parts)  # none has expired
    whole &= not scope.services and scope.since <= hour.start and scope.until >= hour.until
    if whole and sum(streams.values()) + sum(suppression.streams.values()) != hour.records:
        raise ArchiveError(
            f"cannot restore {rfc3339(hour.start)}: expected the "
            f"{counted(hour.records, 'record')} of its manifests, got "
            f"{sum(streams.values())} from its parts. "
            "Run: ./logstack archive verify --deep"
        )
    result.hours += 1
    result.records += sum(inserted.values())
    result.present += sum(streams.values())


def _within(stored: Iterator[bytes], scope: RestoreFilter) -> Iterator[bytes]:
    first, last = nanoseconds(scope.since), nanoseconds(scope.until)
    services: dict[bytes, bool] = {}
    for line in stored:
        if not first <= lines.timestamp(line) < last:
            continue
        stream = lines.stream(line)
        if stream not in services:
            service = service_of(stream.decode("utf-8", "replace"))
            services[stream] = not scope.services or service in scope.services
        if services[stream]:
            yield line


def _count(stored: Iterator[bytes], counts: Counts) -> Iterator[bytes]:
    """The same lines; adds to the counts of their streams."""
    for line in stored:
        lines.count(line, counts)
        yield line


def drop_days(archive: Archive) -> list[datetime]:
    """Delete every archived day from the engine for restored records; the days deleted."""
    starts = archive.ledger().hours
    if not starts:
        return []
    with archive.exclusive_lock("restore"):
        days = archive.restored.days_within(min(starts), max(starts) + HOUR)
        for day in days:
            archive.restored.drop_day(day)
    return days
