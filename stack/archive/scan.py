"""Scans parts for lines that match, a few at once, in bounded memory.

The lines of a part are returned only once its hash is verified. Until then a little is held in
memory and the rest in a nameless file. Further parts are scanned ahead while little is waiting.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from threading import Event

from stack.archive import ArchiveError
from stack.archive.context import Archive
from stack.archive.format.manifest import Part
from stack.archive.storage.parts import decompress, sealed_version
from stack.archive.storage.store import MissingError, StoreError

SCANNERS = 4
MOST_WAITING = 2 * SCANNERS
HELD_BYTES = 1024 * 1024  # of the lines of one part in memory
AHEAD_BYTES = 64 * 1024 * 1024  # of waiting lines, above which no further part is started
Pick = Callable[[Part, Iterator[bytes]], Iterator[bytes]]
"""Selects lines of a part's raw bytes, which come in blocks, in order."""


class ChangedError(ArchiveError):
    """A part is not as its manifest says."""


class SpooledLines:
    """Lines of one part, in order, of which little is in memory and more in a nameless file.

    `size` is their bytes, `count` their number.
    """

    def __init__(self, folder: Path) -> None:
        self.size = self.count = 0
        self.file = SpooledTemporaryFile(HELD_BYTES, dir=str(folder))  # noqa: SIM115 -- see `close`

    def add(self, line: bytes) -> None:
        self.file.write(line + b"\n")
        self.size += len(line)
        self.count += 1

    def lines(self) -> Iterator[bytes]:
        """All lines, once; closed at the end."""
        with self.file as file:
            file.seek(0)
            for line in file:
                yield line[:-1]

    def close(self) -> None:
        self.file.close()


class StoppedError(ArchiveError):
    """The search was closed while parts were being scanned."""


Job = Callable[[], SpooledLines]


def scan_all(
    archive: Archive, parts: list[Part], pick: Pick, limit: int | None = None
) -> Generator[SpooledLines, None, None]:
    """What `pick` takes of each part, at most the first `limit` lines; the caller closes it.

    Raises ArchiveError when a part was changed or cannot be read.
    """
    _ = archive.store.reader  # created before the threads share it
    stopped = Event()
    jobs = (partial(scan, archive, part, pick, limit, stopped) for part in parts)
    return run_ahead(jobs, stopped)


def run_ahead(jobs: Iterable[Job], stopped: Event) -> Generator[SpooledLines, None, None]:
    """The results of jobs in order, of which SCANNERS run at once.

    A job starts only while less than AHEAD_BYTES of results are waiting, or none is. At the end
    `stopped` is set and waiting results are closed.
    """
    coming = iter(jobs)
    waiting: deque[Future[SpooledLines]] = deque()
    with ThreadPoolExecutor(SCANNERS) as pool:
        try:
            while True:
                while _may_start(waiting) and (job := next(coming, None)):
                    waiting.append(pool.submit(job))
                if not waiting:
                    return
                if waiting[0].done():
                    yield waiting.popleft().result()
                else:
                    running = [future for future in waiting if not future.done()]
                    wait(running, return_when=FIRST_COMPLETED)
        finally:
            stopped.set()
            for future in waiting:
                if future.exception() is None:
                    future.result().close()


def _may_start(waiting: deque[Future[SpooledLines]]) -> bool:
    """Whether a scanner is idle, and few results and bytes wait to be read."""
    done = [future for future in waiting if future.done()]
    size = sum(future.result().size for future in done if future.exception() is None)
    idle = len(waiting) - len(done) < SCANNERS and len(waiting) <= MOST_WAITING
    return idle and (not waiting or size < AHEAD_BYTES)


def scan(
    archive: Archive, part: Part, pick: Pick, limit: int | None, stopped: Event
) -> SpooledLines:
    """What `pick` takes of one part; raises StoppedError soon after `stopped` is set.

    Of a part that was overwritten or deleted, an older version that is as the manifest says. Raises
    ArchiveError where there is none.
    """
    try:
        return _scan(archive, part, "", pick, limit, stopped)
    except (ChangedError, MissingError):
        version = sealed_version(archive.store, part)
        if not version:
            raise
        return _scan(archive, part, version, pick, limit, stopped)


def _scan(
    archive: Archive, part: Part, version: str, pick: Pick, limit: int | None, stopped: Event
) -> SpooledLines:
    digest = hashlib.sha256()

    def until_stopped(data: Iterator[bytes]) -> Iterator[bytes]:
        for piece in data:
            if stopped.is_set():
                raise StoppedError
            yield piece

    def chunks() -> Generator[bytes, None, None]:
        for chunk in until_stopped(archive.store.chunks(part.key, version)):
            digest.update(chunk)
            yield chunk

    with ExitStack() as undo:
        found = SpooledLines(archive.work)
        undo.callback(found.close)
        try:
            with closing(chunks()) as compressed:
                for line in pick(part, until_stopped(decompress(compressed))):
                    found.add(line)
                    if found.count == limit:
                        break
                for _ in compressed:  # the rest, for the hash
                    pass
        except StoreError:
            raise
        except (ArchiveError, ValueError) as error:
            raise ChangedError(f"{part.key}: {error}") from None
        if digest.hexdigest() != part.compressed_sha256:
            raise ChangedError(
                f"{part.key}: it was changed since it was archived. "
                "Run: ./logstack archive verify --deep"
            )
        undo.pop_all()
    return found
