"""Loki as an engine that can be archived: exports whole entries and inserts the same.

Loki keeps a line as it was written; labels and metadata are stored apart from it. Of entries of one
stream with the same time, line and metadata it keeps one, so that the archive has only one, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from stack.archive.engines.loki_client import LAST, LokiClient, Window, at_once, selectors
from stack.archive.engines.protocol import HourlyCounts
from stack.archive.failpoints import failpoint
from stack.archive.format import lines
from stack.archive.format.layout import DAY, HOUR, day_of, hours
from stack.archive.format.manifest import Counts, add
from stack.common import wait_until
from stack.engines import Record, Selection
from stack.engines.logql import selector_of, to_logql
from stack.engines.loki import Entry, read_retention, record_from
from stack.records.timestamps import nanoseconds
from stack.settings.tables import ShorterRetention
from stack.settings.units import parse_go_duration

PUSH_ENTRIES = 5000
PUSH_BYTES = 2 * 1024**2
# Queries hide what a deletion covers; Loki caches for this long which deletions there are.
DELETIONS_CACHED = timedelta(minutes=5)


class LokiArchive:
    """One tenant of the Loki at `url`; `storage` is its data folder, to measure its size."""

    name = "loki"
    counts_are_cheap = False  # each reads every chunk of its time

    def __init__(self, url: str, tenant: str, storage: Path | None = None):
        self.client = LokiClient(url, tenant)
        self.storage = storage

    @cached_property
    def version(self) -> str:
        found = re.search(r'loki_build_info{.*version="([^"]+)"', self.client.text("/metrics"))
        return found[1] if found else "unknown"

    def retention(self) -> timedelta:
        return read_retention(self.client.text)

    def lateness(self) -> timedelta | None:
        config = yaml.safe_load(self.client.text("/config"))["limits_config"]
        if config["reject_old_samples"] is not True:
            return None
        return parse_go_duration(str(config["reject_old_samples_max_age"]))

    def oldest(self) -> datetime | None:
        now = datetime.now(UTC)
        since, until = now - self.retention() - DAY, now + DAY
        first = [
            entry
            for selector in selectors(self.client.series(since, until))
            for entry in self.client.page(selector, nanoseconds(since), nanoseconds(until), 1) or ()
        ]
        if not first:
            return None
        return datetime.fromtimestamp(lines.timestamp(min(first)) // 10**9, UTC)

    def hourly_counts(self, since: datetime, until: datetime) -> HourlyCounts:
        starts = list(hours(since, until))
        windows = [(max(hour, since), min(hour + HOUR, until)) for hour in starts]
        counts = self._counts(windows, since, until)
        return {hour: streams for hour, streams in zip(starts, counts, strict=True) if streams}

    def export(self, since: datetime, until: datetime) -> Iterator[bytes]:
        for selector in selectors(self.client.series(since, until)):
            yield from self.client.entries(selector, nanoseconds(since), nanoseconds(until))

    def insert(self, stored: Iterable[bytes]) -> None:
        streams: dict[bytes, dict[str, Any]] = {}
        count = size = 0
        for line in stored:
            record = lines.decode(line)
            stream = streams.setdefault(lines.stream(line), {"stream": record.labels, "values": []})
            stream["values"].append([str(record.ts_ns), record.line, record.metadata])
            count, size = count + 1, size + len(line)
            if count >= PUSH_ENTRIES or size >= PUSH_BYTES:
                self._push(list(streams.values()))
                streams, count, size = {}, 0, 0
        if streams:
            self._push(list(streams.values()))

    def days(self) -> list[datetime]:
        """From the index alone: a count would read every chunk."""
        now = datetime.now(UTC)
        starts = self._undeleted_days(now - self.retention() - DAY, now + DAY)
        series = at_once(lambda day: self.client.series(*day), [(day, day + DAY) for day in starts])
        return [day for day, streams in zip(starts, series, strict=True) if streams]

    def days_within(self, since: datetime, until: datetime) -> list[datetime]:
        starts = self._undeleted_days(since, until)
        # Entries of a day's last millisecond, which no deletion covers, stay until the retention.
        counts = self._counts([(day, day + LAST) for day in starts], since, until)
        return [day for day, streams in zip(starts, counts, strict=True) if streams]

    def disk_bytes(self) -> int:
        if self.storage is None or not self.storage.is_dir():
            return 0
        return sum(_size(path) for path in self.storage.rglob("*"))

    def drop_day(self, day: datetime) -> bool:
        """Delete a day: hidden within minutes, its disk space is freed some hours later."""
        if day not in self.days_within(day, day + DAY):
            return False  # the index still has streams whose entries are deleted
        for selector in selectors(self.client.series(day, day + DAY)):
            self.client.delete(selector, day, day + LAST)
            failpoint("day-detached")
        return True

    def count_of(self, day: datetime, kinds: Sequence[ShorterRetention]) -> int:
        start, end = nanoseconds(day), nanoseconds(day + LAST)
        counts = [self.client.count(selector_of(kind), start, end) for kind in kinds]
        return sum(add(*counts).values())

    def drop_records(self, day: datetime, kinds: Sequence[ShorterRetention]) -> bool:
        requested = {item.query for item in self.client.deletions() if item.start == day}
        missing = [text for text in map(selector_of, kinds) if text not in requested]
        for selector in missing:
            self.client.delete(selector, day, day + LAST)
        return bool(missing)

    def supports_delete(self) -> bool:
        return True  # through the same API as whole days

    def erase(self, matches: Sequence[tuple[str, str]], until: datetime) -> str:
        since = datetime.now(UTC) - self.retention() - DAY
        for name, value in matches:
            selection = Selection(since, until, matches={name: value})
            self.client.delete(to_logql(selection), since, until)
        return "it hides the records within five minutes and deletes them some hours later"

    def has_pending_deletions(self) -> bool:
        return bool(self.client.deletions())

    def prepare_restore(self, since: datetime, until: datetime) -> None:
        """Cancel pending deletions that overlap [since, until), and wait until queries show what
        they hid."""
        overlapping = {
            item.request: item
            for item in self.client.deletions()
            if item.start < until and item.end > since
        }
        for deletion in overlapping.values():
            self.client.cancel(deletion)
        if overlapping:
            patience = DELETIONS_CACHED.total_seconds() + 30
            wait_until(lambda: self.days_within(since, until), patience, every=5)

    def _push(self, streams: list[dict[str, Any]]) -> None:
        self.client.push(streams)
        failpoint("batch-inserted")

    def _undeleted_days(self, since: datetime, until: datetime) -> list[datetime]:
        """The days of [since, until) without those that are being deleted."""
        first = day_of(since)
        deleted = {item.start for item in self.client.deletions() if item.is_of_day}
        days = [first + n * DAY for n in range(-((first - until) // DAY))]
        return [day for day in days if day not in deleted]

    def _counts(self, windows: list[Window], since: datetime, until: datetime) -> list[Counts]:
        """The entries of each window, within [since, until), by stream."""
        series = self.client.series(since, until)
        names = ", ".join(sorted({name for labels in series for name in labels}))
        chosen = selectors(series)

        def count(window: Window) -> Counts:
            start, end = map(nanoseconds, window)
            return add(*(self.client.count(selector, start, end, names) for selector in chosen))

        return at_once(count, windows) if chosen else [{} for _ in windows]


def record_of_line(line: bytes) -> Record:
    """The typed record of a line that was exported from a Loki."""
    stored = lines.decode(line)
    return record_from(Entry(stored.ts_ns, stored.line, stored.labels, stored.metadata))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # deleted meanwhile
        return 0
