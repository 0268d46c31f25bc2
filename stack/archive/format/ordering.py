"""Sorts lines in bounded memory, and finds the difference of two sorted sequences."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

# Lines held in memory before they go to disk, in bytes; Python needs about twice that.
RUN_BYTES = 24 * 1024 * 1024
TAKEN = 16  # lines at a time: 32 MiB where each is of 2 MiB
BATCH_BYTES = 256 * 1024
BATCH_LINES = 500


def in_order(lines: Iterable[bytes], folder: Path, run_bytes: int = RUN_BYTES) -> Iterator[bytes]:
    """Lines without line breaks, sorted as bytes; sorted runs are spilled to `folder`."""
    return chain.from_iterable(sorted_batches(lines, folder, run_bytes))


def sorted_batches(
    lines: Iterable[bytes], folder: Path, run_bytes: int = RUN_BYTES
) -> Iterator[list[bytes]]:
    """The same in lists of some hundred lines, batched to cut per-line overhead."""
    runs: list[IO[bytes]] = []
    coming = iter(lines)
    try:
        held: list[bytes] = []
        size = 0
        while taken := list(islice(coming, TAKEN)):
            held += taken
            size += sum(map(len, taken))
            if size >= run_bytes:
                runs.append(_spill(held, folder))
                held, size = [], 0
        held.sort()
        yield from _merge_sorted_batches([*map(_read, runs), _cut(held)])
    finally:
        for run in runs:
            run.close()


def in_batches(lines: Iterable[bytes], most: int = BATCH_BYTES) -> Iterator[list[bytes]]:
    """Lines in lists of about `most` bytes."""
    batch: list[bytes] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line)
        if size >= most:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def difference(lines: Iterable[bytes], known: Iterable[bytes]) -> Iterator[bytes]:
    """The lines that `known` lacks, both sorted; of equal lines, as many as there are more."""
    others = iter(known)
    other = next(others, None)
    for line in lines:
        while other is not None and other < line:
            other = next(others, None)
        if other == line:
            other = next(others, None)
        else:
            yield line


def _spill(held: list[bytes], folder: Path) -> IO[bytes]:
    held.sort()
    run = TemporaryFile(dir=folder)  # noqa: SIM115 -- it has no name and is gone when closed
    run.writelines(line + b"\n" for line in held)
    run.seek(0)
    return run


def _read(run: IO[bytes]) -> Iterator[list[bytes]]:
    while batch := run.readlines(BATCH_BYTES):
        yield [line[:-1] for line in batch]


def _cut(held: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(held), BATCH_LINES):
        yield held[start : start + BATCH_LINES]


def _merge_sorted_batches(sources: list[Iterator[list[bytes]]]) -> Iterator[list[bytes]]:
    """Merge sources that are sorted each.

    Lines up to the smallest last line of all current batches are complete; sorting them is a merge
    (Timsort). heapq.merge does the same line by line in Python, several times slower.
    """
    current = [next(source, []) for source in sources]
    while any(current):
        bound = min(batch[-1] for batch in current if batch)
        complete: list[bytes] = []
        for number, batch in enumerate(current):
            cut = bisect_right(batch, bound)
            complete += batch[:cut]
            if batch:
                current[number] = batch[cut:] or next(sources[number], [])
        complete.sort()
        yield complete
