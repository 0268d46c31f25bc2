"""Scans parts for lines that match, a few at once, and keeps what it finds in bounded memory.

What a part holds is given out only once its hash was found right, so that all of it has to wait
somewhere: a little in memory, more in a nameless file. Parts are scanned ahead of who reads the
results only as long as little is waiting.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryFile
from threading import Condition, Event
from typing import IO, Protocol

from stack.archive import ArchiveError
from stack.archive.context import Archive
from stack.archive.format.manifest import Part
from stack.archive.storage.parts import decompress
from stack.archive.storage.store import StoreError

SCANNERS = 4
MOST_WAITING = 2 * SCANNERS
HELD_BYTES = 1024 * 1024  # of the lines of one part in memory
AHEAD_BYTES = 64 * 1024 * 1024  # of lines that wait; beyond, no further part is begun


class Pick(Protocol):
    """The lines that are wanted of a part's raw bytes in pieces, in their order."""

    def __call__(self, part: Part, blocks: Iterator[bytes]) -> Iterator[bytes]: ...


class Found:
    """Lines of one part, in order. `size` is that of the lines in bytes, `count` their number.

    `held` are those in memory, the last ones; what comes before them is in a file in `folder`.
    """

    def __init__(self, folder: Path) -> None:
        self.size = 0
        self.count = 0
        self._folder = folder
        self.held: list[bytes] = []
        self._held_bytes = 0
        self._file: IO[bytes] | None = None

    def add(self, line: bytes) -> None:
        self.held.append(line)
        self._held_bytes += len(line)
        self.size += len(line)
        self.count += 1
        if self._held_bytes >= HELD_BYTES:
            self._spill()

    def lines(self) -> Iterator[bytes]:
        """All of them, once nothing is added any more."""
        if self._file is not None:
            self._spill()
            self._file.seek(0)
            for line in self._file:
                yield line[:-1]
        yield from self.held

    def close(self) -> None:
        self.held = []
        if self._file is not None:
            self._file.close()

    def _spill(self) -> None:
        if self._file is None:
            self._file = TemporaryFile(dir=self._folder)  # noqa: SIM115 -- closed by `close`
        self._file.writelines(line + b"\n" for line in self.held)
        self.held, self._held_bytes = [], 0


class StoppedError(ArchiveError):
    """Nobody wants the results any more."""


class Ahead:
    """How much waits to be read. The part that is read next never has to wait for that."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._bytes = 0
        self._next = 0
        self._stopped = Event()

    def begin(self, number: int) -> None:
        """Wait until part `number` may be scanned. Raises StoppedError."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.stopped or number <= self._next or self._bytes < AHEAD_BYTES
            )
        self.check()

    def check(self) -> None:
        """Raises StoppedError."""
        if self.stopped:
            raise StoppedError

    def add(self, size: int) -> None:
        """So much more is waiting, or less."""
        with self._changed:
            self._bytes += size
            self._changed.notify_all()

    def want(self, number: int) -> None:
        with self._changed:
            self._next = number
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped.set()
            self._changed.notify_all()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()


def scan_all(
    archive: Archive, parts: list[Part], pick: Pick, limit: int | None = None
) -> Generator[Found, None, None]:
    """What `pick` takes of each part, at most the first `limit` lines; the caller closes it.

    Raises ArchiveError when a part was changed or cannot be read.
    """
    _ = archive.store.reader  # made before the threads that share it
    ahead = Ahead()
    coming = deque(enumerate(parts))
    waiting: deque[tuple[int, Future[Found]]] = deque()

    def work(number: int, part: Part) -> Found:
        ahead.begin(number)
        found = scan(archive, part, pick, limit, ahead.check)
        ahead.add(found.size)
        return found

    with ThreadPoolExecutor(SCANNERS) as pool:
        try:
            while coming or waiting:
                while coming and len(waiting) <= MOST_WAITING:
                    number, part = coming.popleft()
                    waiting.append((number, pool.submit(work, number, part)))
                ahead.want(waiting[0][0])
                found = waiting[0][1].result()
                waiting.popleft()
                ahead.add(-found.size)
                yield found
        finally:
            ahead.stop()
            pool.shutdown(cancel_futures=True)
            for _, future in waiting:
                if not future.cancelled() and future.exception() is None:
                    future.result().close()


def scan(
    archive: Archive,
    part: Part,
    pick: Pick,
    limit: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> Found:
    """What `pick` takes of one part. `check` is called now and then, and may raise.

    Raises ArchiveError when the part was changed.
    """
    digest = hashlib.sha256()

    def chunks() -> Generator[bytes, None, None]:
        for chunk in archive.store.chunks(part.key):
            check()
            digest.update(chunk)
            yield chunk

    def blocks(compressed: Iterator[bytes]) -> Iterator[bytes]:
        for block in decompress(compressed):
            check()
            yield block

    with ExitStack() as undo:
        found = Found(archive.work)
        undo.callback(found.close)
        try:
            with closing(chunks()) as compressed:
                for line in pick(part, blocks(compressed)):
                    found.add(line)
                    if found.count == limit:
                        break
                for _ in compressed:  # the rest, for the hash
                    pass
        except StoreError:
            raise
        except (ArchiveError, ValueError) as error:
            raise ArchiveError(f"{part.key}: {error}") from None
        if digest.hexdigest() != part.compressed_sha256:
            raise ArchiveError(
                f"{part.key}: it was changed since it was archived. "
                "Type: ./logstack archive verify --deep"
            )
        undo.pop_all()
    return found
