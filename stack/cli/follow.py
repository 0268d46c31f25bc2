"""`logstack logs --follow`: new records, and a notice when late ones were skipped."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from stack.common.counted import counted
from stack.engines import Engine, Record, Selection
from stack.records.timestamps import nanoseconds, rfc3339

EVERY = 1.0  # seconds
OVERLAP = timedelta(seconds=15)  # how late a record may arrive and still be shown
LATE_EVERY = timedelta(seconds=15)  # how often later ones are counted
LATE = timedelta(hours=1)  # how far back they are counted
PAGE = 10_000  # records per request
SHORTEST = timedelta(milliseconds=1)  # a time range that is not divided further


class Follower:
    """Yields each new record of a selection once, from its creation on.

    Records arrive late, so each request goes back by OVERLAP. Records that arrive later still are
    counted, and `on_late` is called with a notice.
    """

    def __init__(self, engine: Engine, selection: Selection, on_late: Callable[[str], None]):
        self._engine = engine
        self._selection = selection
        self._on_late = on_late
        self._since = min(selection.until, datetime.now(UTC)) - OVERLAP
        # The caller shows the records that exist already, or leaves them out on purpose.
        existing = replace(selection, since=self._since)
        self._seen = {_key(record) for record in every(engine, existing)}
        # Past time ranges: the start of each, and how many records it had.
        before = replace(selection, since=max(selection.since, self._since - LATE))
        before = replace(before, until=max(before.since, self._since))
        self._settled = deque([(before.since, engine.count(before))])
        self._late = 0
        self._late_at = datetime.now(UTC) + LATE_EVERY

    def records(self, shown: Iterable[Record]) -> Iterator[Record]:
        """New records, without end. `shown` have been shown already."""
        self._seen |= {_key(record) for record in shown}
        while True:
            time.sleep(EVERY)
            yield from self._new(datetime.now(UTC))

    def _new(self, now: datetime) -> Iterator[Record]:
        following = now - OVERLAP
        edge = rfc3339(nanoseconds(following))
        seen = set()
        settled = 0
        window = replace(self._selection, since=self._since, until=now + timedelta(seconds=1))
        for record in every(self._engine, window):
            key = _key(record)
            seen.add(key)
            settled += _stamp(record) < edge
            if key not in self._seen:
                yield record
        self._seen = seen
        self._settled.append((self._since, settled))
        self._since = following
        if now >= self._late_at:
            self._count_late(now)

    def _count_late(self, now: datetime) -> None:
        """Compare the engine's count of past ranges with the number of records seen in them."""
        self._late_at = now + LATE_EVERY
        while len(self._settled) > 1 and self._settled[1][0] < now - LATE:
            self._settled.popleft()
        over = replace(self._selection, since=self._settled[0][0], until=self._since)
        late = self._engine.count(over) - sum(count for _, count in self._settled)
        if late > self._late:
            since, until = (rfc3339(nanoseconds(moment)) for moment in (over.since, over.until))
            self._on_late(
                f"Skipped {counted(late - self._late, 'record')} that arrived more than "
                f"{OVERLAP.seconds} s "
                "after they were created. To see them, run with the same options: "
                f"./logstack logs --since {since} --until {until} -n 100000"
            )
        self._late = late


def every(engine: Engine, selection: Selection) -> Iterator[Record]:
    """All matching records, oldest first, however many: requested in parts of about PAGE."""
    page = list(engine.records(selection, limit=PAGE))
    if len(page) < PAGE:
        yield from page
        return
    for part in _parts(engine, selection):
        limit = PAGE
        while len(page := list(engine.records(part, limit=limit))) >= limit:
            limit *= 2  # more of one moment, or more arrived since the count
        yield from page


def _parts(engine: Engine, selection: Selection) -> Iterator[Selection]:
    """The selection divided by time into parts of less than a page, or of one moment."""
    length = selection.until - selection.since
    if length <= SHORTEST or engine.count(selection) < PAGE:
        yield selection
        return
    middle = selection.since + length / 2
    yield from _parts(engine, replace(selection, until=middle))
    yield from _parts(engine, replace(selection, since=middle))


def _stamp(record: Record) -> str:
    return str(record.get("timestamp", ""))


def _key(record: Record) -> bytes:
    text = json.dumps(record, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
