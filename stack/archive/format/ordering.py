"""Puts lines in order with bounded memory, and finds what one ordered set has beyond another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

# What is held in memory before it goes to disk, in bytes of lines; Python needs about twice that.
RUN_BYTES = 24 * 1024 * 1024
TAKEN = 16  # lines at once: of 2 MiB each they are still few
BATCH_BYTES = 256 * 1024
BATCH_LINES = 500


def in_order(lines: Iterable[bytes], folder: Path, run_bytes: int = RUN_BYTES) -> Iterator[bytes]:
    """The lines, which hold no line breaks, sorted as bytes; sorted runs wait in `folder`."""
    return chain.from_iterable(sorted_batches(lines, folder, run_bytes))


def sorted_batches(
    lines: Iterable[bytes], folder: Path, run_bytes: int = RUN_BYTES
) -> Iterator[list[bytes]]:
    """The same in lists of some hundred lines: whoever takes them does less for each line."""
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
        yield from _merged([*map(_read, runs), _cut(held)])
    finally:
        for run in runs:
            run.close()


def in_batches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Lines in lists of about BATCH_BYTES."""
    batch: list[bytes] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line)
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def beyond(lines: Iterable[bytes], known: Iterable[bytes]) -> Iterator[bytes]:
    """The lines that `known` lacks, both in order; of equal ones as many as there are more."""
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


def _merged(sources: list[Iterator[list[bytes]]]) -> Iterator[list[bytes]]:
    """Batches in order of sources that each are in order.

    What is not beyond the last line of any batch at hand is complete; sorting it is a merge.
    """
    held = [next(source, []) for source in sources]
    while any(held):
        bound = min(batch[-1] for batch in held if batch)
        complete: list[bytes] = []
        for number, batch in enumerate(held):
            cut = bisect_right(batch, bound)
            complete += batch[:cut]
            if batch:
                held[number] = batch[cut:] or next(sources[number], [])
        complete.sort()
        yield complete
