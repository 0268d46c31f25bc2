"""Finds records in the archive without an engine: a scan of the parts that can hold them.

The manifests say which parts those are. In a part, lines are looked at only where the searched text
stands, so that most of it is decompressed and never parsed.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from stack.archive import ArchiveError, id_filter, lines
from stack.archive.context import Archive, OnProgress, no_progress
from stack.archive.ledger import Ledger
from stack.archive.manifest import Part
from stack.archive.parts import decompress
from stack.archive.records import reader_of
from stack.archive.store import StoreError
from stack.archive.suppression import Suppression, text_of
from stack.contract import levels_from
from stack.engines import Record, Selection
from stack.times import nanoseconds

SCANNERS = 4
GREP_FIELDS = ("message", "exception_message", "stack_trace")
# Text that JSON writes as it is, however deep it is nested.
PLAIN = re.compile(r"[A-Za-z0-9 _.:@/+-]{3,}")


@dataclass(frozen=True)
class Candidate:
    """A part that can hold records, and the engine that its lines come from."""

    hour: datetime
    part: Part
    engine: str


class Matcher:
    """Whether a line is wanted: cheap on its bytes first, then exactly on its record."""

    def __init__(self, selection: Selection):
        self.selection = selection
        self.first, self.last = nanoseconds(selection.since), nanoseconds(selection.until)
        self.levels = frozenset(levels_from(selection.level)) if selection.level else frozenset()
        self.grep = re.compile(selection.grep) if selection.grep else None
        self.needle = needle(selection)
        levels = "|".join(sorted(self.levels))
        self.level_pattern = re.compile(rf'"level":"(?:{levels})"'.encode()) if levels else None

    def candidates(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Lines that can match, of raw bytes in pieces."""
        rest = b""
        for block in blocks:
            data = rest + block
            cut = data.rfind(b"\n") + 1
            body, rest = data[:cut], data[cut:]
            if self.needle:
                yield from _lines_with(body, self.needle)
            elif self.level_pattern:
                yield from _lines_at(body, self.level_pattern)
            else:
                yield from body.split(b"\n")[:-1]

    def takes(self, line: bytes, record_of: Callable[[bytes], Record]) -> bool:
        if not self.first <= lines.timestamp(line) < self.last:
            return False
        record = record_of(line)
        if self.levels and record.get("level") not in self.levels:
            return False
        for name, value in self.selection.matches.items():
            if name not in record or text_of(record[name]) != value:
                return False
        if self.grep is None:
            return True
        return any(self.grep.search(str(record[name])) for name in GREP_FIELDS if name in record)


def needle(selection: Selection) -> bytes:
    """Text that every wanted line holds; empty where none is sure."""
    texts = [value for value in selection.matches.values() if PLAIN.fullmatch(value)]
    if selection.grep and re.fullmatch(r"[A-Za-z0-9 _:@/-]{3,}", selection.grep):
        texts.append(selection.grep)
    return max(texts, key=len, default="").encode()


def candidates(ledger: Ledger, selection: Selection) -> list[Candidate]:
    """The parts that can hold what is searched, by time, service and ids."""
    first, last = nanoseconds(selection.since), nanoseconds(selection.until)
    service = selection.matches.get("service_name")
    found = []
    for hour in ledger.between(selection.since, selection.until):
        for part in hour.parts.values():
            in_time = int(part.first_ns) < last and int(part.last_ns) >= first
            may_hold = all(
                id_filter.may_hold(part.ids, *item) for item in selection.matches.items()
            )
            if in_time and may_hold and (service is None or service in part.services):
                found.append(Candidate(hour.start, part, hour.engine))
    return sorted(found, key=lambda item: (item.hour, item.part.first_ns))


def run(
    archive: Archive, selection: Selection, *, on_progress: OnProgress = no_progress
) -> Iterator[Record]:
    """The records that match, hour by hour, in the order of time. Raises ArchiveError."""
    matcher = Matcher(selection)
    ledger = archive.known_ledger()
    chosen = candidates(ledger, selection)
    suppression = Suppression(archive.key, archive.engine, ledger.erasures)
    hour: datetime | None = None
    held: list[tuple[bytes, str]] = []
    for done, (candidate, found) in enumerate(_scan_all(archive, matcher, chosen), start=1):
        if candidate.hour != hour:
            yield from _records(held, suppression)
            hour, held = candidate.hour, []
        held += [(line, candidate.engine) for line in found]
        on_progress("search", f"{done} of {len(chosen)} parts, {candidate.hour:%Y-%m-%d %H}:00")
    yield from _records(held, suppression)


def _records(held: list[tuple[bytes, str]], suppression: Suppression) -> Iterator[Record]:
    for line, engine in sorted(held):
        record = reader_of(engine)(line)
        if not suppression.takes_out(record):
            yield record


def _scan_all(
    archive: Archive, matcher: Matcher, chosen: list[Candidate]
) -> Iterator[tuple[Candidate, list[bytes]]]:
    """Scan parts in order, a few at once and not far ahead of who reads the results."""
    waiting: deque[tuple[Candidate, Future[list[bytes]]]] = deque()
    _ = archive.store.reader  # made before the threads that share it
    with ThreadPoolExecutor(SCANNERS) as pool:
        try:
            for candidate in chosen:
                waiting.append((candidate, pool.submit(scan, archive, matcher, candidate)))
                if len(waiting) > 2 * SCANNERS:
                    done, future = waiting.popleft()
                    yield done, future.result()
            for done, future in waiting:
                yield done, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def scan(archive: Archive, matcher: Matcher, candidate: Candidate) -> list[bytes]:
    """The lines of one part that match. Raises ArchiveError when the part was changed."""
    digest = hashlib.sha256()
    record_of = reader_of(candidate.engine)

    def chunks() -> Iterator[bytes]:
        for chunk in archive.store.chunks(candidate.part.key):
            digest.update(chunk)
            yield chunk

    try:
        blocks = decompress(chunks())
        found = [line for line in matcher.candidates(blocks) if matcher.takes(line, record_of)]
    except StoreError:
        raise
    except (ArchiveError, ValueError) as error:
        raise ArchiveError(f"{candidate.part.key}: {error}") from None
    if digest.hexdigest() != candidate.part.compressed_sha256:
        raise ArchiveError(
            f"{candidate.part.key}: it was changed since it was archived. "
            "Type: ./logstack archive verify --deep"
        )
    return found


def _lines_with(body: bytes, text: bytes) -> Iterator[bytes]:
    position = 0
    while (found := body.find(text, position)) >= 0:
        end = body.find(b"\n", found)
        yield body[body.rfind(b"\n", 0, found) + 1 : end]
        position = end + 1


def _lines_at(body: bytes, pattern: re.Pattern[bytes]) -> Iterator[bytes]:
    position = 0
    while found := pattern.search(body, position):
        end = body.find(b"\n", found.start())
        yield body[body.rfind(b"\n", 0, found.start()) + 1 : end]
        position = end + 1
