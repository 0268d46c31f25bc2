"""Searches the archive without an engine: scans the parts that can hold matching records.

The manifests say which parts those are. Only lines that contain the searched text are parsed; the
rest of a part is just decompressed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush, heapreplace
from itertools import islice
from typing import NamedTuple

from stack.archive import ArchiveError
from stack.archive.context import Archive, OnProgress, no_progress
from stack.archive.engines import reader_of
from stack.archive.format import id_filter, lines
from stack.archive.format.layout import hour_name
from stack.archive.format.manifest import Part
from stack.archive.lifecycle import find_expired
from stack.archive.scan import SpooledLines, scan_all
from stack.archive.storage.ledger import Ledger
from stack.archive.suppression import Suppression, text_in
from stack.common.counted import counted
from stack.engines import Record, Selection
from stack.records.contract import SEARCHED_FIELDS, levels_from
from stack.records.timestamps import nanoseconds

# Text that JSON does not escape, however deep it is nested.
PLAIN = re.compile(r"[A-Za-z0-9 _.:@/+-]{3,}")
FINDABLE = re.compile(rf"{PLAIN.pattern}|[A-Za-z0-9]{{1,2}}")
Find = Callable[[bytes, int], int]
"""The first position in some lines at or after one, or -1."""


@dataclass(frozen=True)
class Candidate:
    """A part that can hold matching records, and the engine of its lines."""

    hour: datetime
    part: Part
    engine: str


class Matcher:
    """Whether a line matches: first a cheap test of its bytes, then an exact one of its record."""

    def __init__(self, selection: Selection, any_of: Collection[tuple[str, str]] = ()):
        """`any_of`: fields and values of which a record has at least one."""
        self.selection = selection
        self.any_of = any_of
        self.first, self.last = nanoseconds(selection.since), nanoseconds(selection.until)
        self.levels = frozenset(levels_from(selection.level)) if selection.level else frozenset()
        self.grep = _pattern(selection.grep) if selection.grep else None
        self._find = _finder_of_any(any_of) or _finder(needle(selection), self.levels)

    def candidates(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Lines that can match, of raw bytes in blocks."""
        rest = b""
        for block in blocks:
            data = rest + block
            cut = data.rfind(b"\n") + 1
            body, rest = data[:cut], data[cut:]
            yield from _lines_at(body, self._find) if self._find else body.split(b"\n")[:-1]

    @property
    def takes_all(self) -> bool:
        """Whether nothing but the time is asked for, so that no line needs to be parsed."""
        selection = self.selection
        return not (selection.matches or self.levels or self.grep or self.any_of)

    def is_within(self, line: bytes) -> bool:
        return self.first <= lines.timestamp(line) < self.last

    def matches(self, line: bytes, record_of: Callable[[bytes], Record]) -> bool:
        return self.record(line, record_of) is not None

    def record(self, line: bytes, record_of: Callable[[bytes], Record]) -> Record | None:
        """The record of a line if it matches."""
        if not self.is_within(line):
            return None
        record = record_of(line)
        if self.levels and record.get("level") not in self.levels:
            return None
        for name, value in self.selection.matches.items():
            if text_in(record, name) != value:
                return None
        if self.any_of and not any(text_in(record, name) == text for name, text in self.any_of):
            return None
        if self.grep is None or any(
            self.grep.search(str(record[name])) for name in SEARCHED_FIELDS if name in record
        ):
            return record
        return None


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ArchiveError(
            f"--grep: expected a regular expression, got {text!r}: {error}. "
            "Put a backslash before special characters"
        ) from None


def needle(selection: Selection) -> bytes:
    """Text that every matching line contains; empty where none is certain."""
    texts = [value for value in selection.matches.values() if PLAIN.fullmatch(value)]
    if selection.grep and re.fullmatch(r"[A-Za-z0-9 _:@/-]{3,}", selection.grep):
        texts.append(selection.grep)
    return max(texts, key=len, default="").encode()


def _finder(text: bytes, levels: Collection[str]) -> Find | None:
    """Finds what matching lines contain, the text or one of the levels; None without any."""
    if text:
        return lambda body, start: body.find(text, start)
    if levels:
        pattern = re.compile(rf'"level":"(?:{"|".join(sorted(levels))})"'.encode())
        return lambda body, start: found.start() if (found := pattern.search(body, start)) else -1
    return None


def _finder_of_any(matches: Collection[tuple[str, str]]) -> Find | None:
    """Finds one of the values; None where one may be written in another way, or without any."""
    if not matches or not all(FINDABLE.fullmatch(text) for _, text in matches):
        return None
    pattern = re.compile("|".join(_written(*match) for match in sorted(matches)).encode())
    return lambda body, start: found.start() if (found := pattern.search(body, start)) else -1


def _written(name: str, text: str) -> str:
    """A pattern of a value in a line; a short one would be in most lines, so with its field.

    In the line of a record, which is JSON in JSON, quotes have backslashes.
    """
    if PLAIN.fullmatch(text):
        return re.escape(text)
    return rf'{re.escape(name.rpartition(".")[2])}\\*"\s*:\s*\\*"?{re.escape(text)}'


def candidates(ledger: Ledger, selection: Selection) -> list[Candidate]:
    """The parts that can hold matching records, by time, service and ids."""
    first, last = nanoseconds(selection.since), nanoseconds(selection.until)
    service = selection.matches.get("service_name")
    found = []
    for hour in ledger.between(selection.since, selection.until):
        for part in hour.parts.values():
            may_hold = all(
                id_filter.may_hold(part.ids, *item) for item in selection.matches.items()
            )
            if (
                part.overlaps(first, last)
                and may_hold
                and (service is None or service in part.services)
            ):
                found.append(Candidate(hour.start, part, hour.engine))
    return sorted(found, key=lambda item: (item.hour, item.part.first_ns))


def run(
    archive: Archive,
    selection: Selection,
    *,
    any_of: Collection[tuple[str, str]] = (),
    limit: int | None = None,
    on_progress: OnProgress = no_progress,
    on_expired: Callable[[int], None] = lambda hours: None,
) -> Generator[Record, None, None]:
    """The records that match, the first `limit` or all, in order of time.

    `on_expired` is called once with the number of expired hours in the range, if any. Uses bounded
    memory, however many match. Raises ArchiveError.
    """
    matcher = Matcher(selection, any_of)
    ledger = archive.cached_ledger()
    expired = find_expired(archive, ledger.between(selection.since, selection.until))
    if expired.hours:
        on_expired(expired.hours)
    chosen = [item for item in candidates(ledger, selection) if item.part.key not in expired.parts]
    suppression = Suppression(archive.key, archive.engine.name, ledger.erasures)
    readers = {item.part.key: reader_of(item.engine) for item in chosen}

    def pick(part: Part, blocks: Iterator[bytes]) -> Iterator[bytes]:
        if matcher.takes_all and not suppression.ends:
            yield from filter(matcher.is_within, matcher.candidates(blocks))
            return
        for line in matcher.candidates(blocks):
            record = matcher.record(line, readers[part.key])
            if record is not None and not suppression.excludes(line, record):
                yield line

    with closing(scan_all(archive, [item.part for item in chosen], pick, limit)) as found:
        ordered = merged(chosen, found, on_progress)
        with closing(ordered):
            for line, engine in islice(ordered, limit):
                yield reader_of(engine)(line)


def merged(
    chosen: list[Candidate], scanned: Iterator[SpooledLines], on_progress: OnProgress
) -> Generator[tuple[bytes, str], None, None]:
    """The matching lines of all parts, in order, with their engines.

    Lines earlier than all of further parts are returned before these are scanned.
    """
    heap: list[_Next] = []
    try:
        for number, candidate in enumerate(chosen):
            yield from _earlier(heap, int(candidate.part.first_ns))
            found = next(scanned)
            on_progress(
                "search",
                f"{number + 1} of {counted(len(chosen), 'part')}, {hour_name(candidate.hour)}",
            )
            coming = found.lines()
            line = next(coming, None)
            if line is None:
                found.close()
            else:
                heappush(heap, _Next(line, candidate.engine, number, coming, found))
        yield from _earlier(heap, None)
    finally:
        for item in heap:
            item.found.close()


class _Next(NamedTuple):
    """The next line of a part and an iterator of those after it; sorted by the first three."""

    line: bytes
    engine: str
    number: int
    coming: Iterator[bytes]
    found: SpooledLines


def _earlier(heap: list[_Next], before: int | None) -> Iterator[tuple[bytes, str]]:
    """Lines in order, up to the moment `before` in nanoseconds, or all."""
    while heap and (before is None or lines.timestamp(heap[0].line) < before):
        first = heap[0]
        yield first.line, first.engine
        line = next(first.coming, None)
        if line is None:
            heappop(heap).found.close()
        else:
            heapreplace(heap, first._replace(line=line))


def _lines_at(body: bytes, find: Find) -> Iterator[bytes]:
    position = 0
    while (found := find(body, position)) >= 0:
        end = body.find(b"\n", found)
        yield body[body.rfind(b"\n", 0, found) + 1 : end]
        position = end + 1
