"""Exports what the archive lacks: new hours, and late records of older ones.

One step does everything: what the engine has of an hour, in order, less what the archive has of it.
A new hour, one that was archived in part, one that got late records and one at which an exporter
was killed differ only in how much is left.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, pairwise

from stack.archive import ArchiveError, anchors
from stack.archive.context import Archive, OnProgress, no_progress
from stack.archive.failpoints import failpoint
from stack.archive.format.layout import DAY, HOUR, hour_name, hour_of, hours, rfc3339
from stack.archive.format.manifest import (
    Counts,
    Manifest,
    Part,
    add,
    max_by_stream,
    subtract,
)
from stack.archive.format.ordering import difference, in_batches, sorted_batches
from stack.archive.lifecycle import Expired, find_expired, is_held
from stack.archive.storage.ledger import HourState, Ledger
from stack.archive.storage.part_cache import NotCachedError
from stack.archive.storage.parts import HourParts, PartSpec, fetch_lines, own_parts
from stack.archive.suppression import Suppression
from stack.common.counted import counted
from stack.settings.units import parse_bytes, parse_duration

ATTEMPTS = 4
SORTED_AT_ONCE = 25_000  # records; about half of what ordering.RUN_BYTES holds of usual ones
# How far each run looks back for late records where counting is costly.
RECENT = timedelta(days=2)
# With `--now`: records made this recently may still be on their way to the engine.
ON_THE_WAY = timedelta(seconds=5)


@dataclass
class Exported:
    """What a run archived. `erased_before` records were left out, because tombstones name them."""

    hours: int = 0
    late_hours: int = 0
    records: int = 0
    erased_before: int = 0
    parts: int = 0
    raw_bytes: int = 0
    compressed_bytes: int = 0
    starts: list[datetime] = field(default_factory=list)
    chain_head: str = ""

    def add(self, start: datetime, parts: list[Part], *, late: bool) -> None:
        self.hours += 1
        self.late_hours += late
        self.records += sum(part.records for part in parts)
        self.parts += len(parts)
        self.raw_bytes += sum(part.raw_bytes for part in parts)
        self.compressed_bytes += sum(part.compressed_bytes for part in parts)
        self.starts.append(start)


def run(
    archive: Archive,
    *,
    ledger: Ledger | None = None,
    include_current: bool = False,
    on_progress: OnProgress = no_progress,
) -> Exported:
    """Archive every complete hour, and with `include_current` the current one up to now.

    `ledger`: one to use, as far as it was read.
    Safe to be killed at any moment and to be run twice at once. Raises ArchiveError, EngineError.
    """
    result = Exported()
    with archive.exclusive_lock():
        archive.prepare()
        ledger = archive.ledger(ledger)
        anchors.check(archive, ledger)
        now = archive.now()
        if not archive.store.can_read:
            archive.save_state(without_reader=rfc3339(now))
        failures: list[str] = []
        for start, until, counts in due(archive, ledger, now, include_current):
            on_progress(hour_name(start), "exporting")
            try:
                export_hour(archive, ledger, start, until, result, counts)
            except NotCachedError as error:  # other hours do not need this copy
                failures.append(f"{rfc3339(start)}: {error}")
                continue
            on_progress(hour_name(start), "archived")
        archive.save_state(length=ledger.length, head=ledger.head)
        result.chain_head = anchors.head_of(ledger)
        archive.part_cache.tidy(ledger.part_keys, hour_of(now - archive.lateness))
        if failures:
            raise ArchiveError("\n".join(failures))
        if looks_back(archive, now):
            archive.save_state(looked_back=rfc3339(now))
        archive.save_state(exported=rfc3339(now))
    return result


def due(
    archive: Archive, ledger: Ledger, now: datetime, include_current: bool
) -> list[tuple[datetime, datetime, Counts | None]]:
    """The hours to archive, in order: start, end, and the engine's counts where they are known.

    These are the hours since the last archived one, without a gap, and those in the lateness window
    of which the engine has more than the archive. Where counting is costly, the window is two days,
    and once a day all of it.
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
    found: list[tuple[datetime, datetime, Counts | None]] = []
    for start in hours(max(since, first), end):
        known = ledger.hours.get(start)
        in_engine = counts.get(start, {})
        if known is None or not known.complete or has_more(in_engine, known):
            found.append((start, start + HOUR, in_engine))
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


@dataclass(frozen=True)
class HourDiff:
    """One attempt at an hour: what the archive lacks of [start, until), with the counts by stream.

    `before` and `after` are the engine's counts before and after it was read; `archived` is what
    the hour's parts hold with the new `parts`; `suppressed` is what tombstones excluded.
    """

    start: datetime
    until: datetime
    known: HourState | None
    before: Counts
    after: Counts
    parts: list[Part]
    archived: Counts
    suppressed: Counts

    @property
    def is_late(self) -> bool:
        """Whether the hour was complete before."""
        return self.known is not None and self.known.complete

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to seal: nothing new, or another exporter has sealed it."""
        reached = self.until < self.start + HOUR or self.is_late
        return self.known is not None and not self.parts and reached

    @property
    def accounted(self) -> Counts:
        """What the archive has of each stream, or excludes."""
        return add(self.archived, max_by_stream(self.suppressed, _erased(self.known)))

    @property
    def is_consistent(self) -> bool:
        """Whether every stream has at least `before` and at most `after` records.

        An hour that was archived before may hold more than the engine still has.
        """
        accounted = self.accounted
        lacks = any(count < 0 for count in subtract(accounted, self.before).values())
        exceeds = any(count > 0 for count in subtract(accounted, self.after).values())
        return not lacks and (not exceeds or self.known is not None)


def export_hour(
    archive: Archive,
    ledger: Ledger,
    start: datetime,
    until: datetime,
    result: Exported,
    known_counts: Counts | None = None,
) -> None:
    """Archive what is missing of [start, until), which lies in one hour. Raises ArchiveError.

    `known_counts`: what the engine has of it at least.
    """
    failpoint("export-started")
    for _ in range(ATTEMPTS):
        diff = _diff(archive, ledger, start, until, known_counts)
        known_counts = None
        if not diff.is_consistent:
            continue  # records arrived meanwhile, or the answer was cut off
        if diff.is_empty:
            result.erased_before += sum(diff.suppressed.values())
            return
        late = diff.is_late  # the hour is complete once the manifest is written
        if ledger.write(_manifest(archive, ledger, diff)):
            failpoint("manifest-uploaded")
            _hold_late_parts(archive, diff)
            result.add(start, diff.parts, late=late)
            result.erased_before += sum(diff.suppressed.values())
            return
        ledger.refresh()  # another exporter was faster
        known = ledger.hours.get(start)
        if known is not None and known.until >= until and not has_more(diff.after, known):
            return
    raise ArchiveError(
        f"cannot archive {rfc3339(start)}: expected the "
        f"{counted(sum(diff.before.values()), 'record')} that the engine "
        f"counts, got {sum(diff.accounted.values())} in {ATTEMPTS} attempts. Nothing "
        "was sealed; the next run tries again"
    )


def _hold_late_parts(archive: Archive, diff: HourDiff) -> None:
    """Put new parts of an hour under the legal hold of its others, where the admin's key is set."""
    others = diff.known.parts.keys() - {part.key for part in diff.parts} if diff.known else ()
    if diff.parts and any(is_held(archive, key) for key in others):
        for part in diff.parts:
            for version in archive.store.versions_of(part.key):
                archive.store.hold(part.key, version, True)


def _diff(
    archive: Archive, ledger: Ledger, start: datetime, until: datetime, known_counts: Counts | None
) -> HourDiff:
    """Store what the archive lacks of [start, until) as parts that no manifest names yet."""
    known = ledger.hours.get(start)
    before = _counts(archive, start, until) if known_counts is None else known_counts
    suppression = Suppression(archive.key, archive.engine.name, ledger.erasures)
    missing = _missing(archive, known, (start, until), before, suppression)
    parts = _store_parts(archive, (start, known.numbers if known else 0), before, missing)
    failpoint("parts-uploaded")
    after = _counts(archive, start, until)
    archived = add(known.streams if known else {}, *(part.streams for part in parts))
    return HourDiff(start, until, known, before, after, parts, archived, suppression.streams)


def archived_lines(archive: Archive, known: HourState) -> Iterator[bytes]:
    """Every line that the archive has of an hour, in order; without a reader's key, of copies.

    Expired parts are left out: late records of such an hour are archived with all that the engine
    has of it.
    """
    source = archive.store if archive.store.can_read else archive.part_cache
    expired = find_expired(archive, [known]) if archive.store.can_read else Expired()
    parts = expired.remaining(known)
    return heapq.merge(*(fetch_lines(source, part, archive.work) for part in parts))


def _missing(
    archive: Archive,
    known: HourState | None,
    window: tuple[datetime, datetime],
    counts: Counts,
    suppression: Suppression,
) -> Iterator[list[bytes]]:
    """Lines of the engine, in order, that the archive lacks and no tombstone names."""
    records = sum(counts.values())
    batches = _in_order(archive, *window, records) if records else iter(())
    if not (known or suppression.ends):
        return batches
    allowed = suppression.filter(chain.from_iterable(batches))
    return in_batches(difference(allowed, archived_lines(archive, known)) if known else allowed)


def _store_parts(
    archive: Archive, place: tuple[datetime, int], counts: Counts, batches: Iterable[list[bytes]]
) -> list[Part]:
    """Write lines, in order, into parts and store them. `place`: the hour and the first number."""
    settings = archive.settings.archive
    spec = PartSpec(
        tenant=archive.tenant,
        hour=place[0],
        number=place[1],
        own=own_parts(counts, settings.own_part),
        folder=archive.work,
        part_bytes=parse_bytes(settings.part),
        level=settings.level,
    )
    with closing(HourParts(archive.store, spec, archive.copies_of_new_parts())) as parts:
        for batch in batches:
            parts.take(batch)
        return parts.finish()


def _in_order(
    archive: Archive, start: datetime, until: datetime, records: int
) -> Iterator[list[bytes]]:
    """What the engine has of [start, until), in order.

    Each request is for as many records as are usually sorted in memory; long ones, or many of one
    moment, are sorted on disk.
    """
    pieces = max(1, records // SORTED_AT_ONCE)
    step = (until - start) / pieces
    edges = [*(start + number * step for number in range(pieces)), until]
    for since, before in pairwise(edges):
        yield from sorted_batches(archive.engine.export(since, before), archive.work)


def _manifest(archive: Archive, ledger: Ledger, diff: HourDiff) -> Manifest:
    """The next manifest, which seals the diff."""
    start, until, known = diff.start, diff.until, diff.known
    return ledger.draft(
        kind="hour",
        start=start,
        until=max(until, known.until) if known else until,
        complete=until == start + HOUR or diff.is_late,
        late=diff.is_late,
        engine=archive.engine.name,
        engine_version=archive.engine.version,
        query=f"every record from {rfc3339(start)} to before {rfc3339(until)}",
        created=archive.now(),
        engine_streams=diff.after,
        archived_streams=diff.archived,
        suppressed_streams=diff.suppressed,
        parts=tuple(diff.parts),
    )


def _counts(archive: Archive, start: datetime, until: datetime) -> Counts:
    return archive.engine.hourly_counts(start, until).get(start, {})


def _erased(known: HourState | None) -> Counts:
    return known.erased if known else {}


def has_more(counts: Counts, known: HourState) -> bool:
    """Whether the engine has more of a stream than the archive has or had erased."""
    accounted = add(known.streams, known.erased)
    return any(count > 0 for count in subtract(counts, accounted).values())
