"""Puts lines in order with bounded memory, and finds what one ordered set has beyond another."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

# What is held in memory before it goes to disk, in bytes of lines; Python needs about twice that.
RUN_BYTES = 24 * 1024 * 1024


def in_order(lines: Iterable[bytes], folder: Path, run_bytes: int = RUN_BYTES) -> Iterator[bytes]:
    """The lines, which hold no line breaks, sorted as bytes; sorted runs wait in `folder`."""
    runs: list[IO[bytes]] = []
    try:
        held: list[bytes] = []
        size = 0
        for line in lines:
            held.append(line)
            size += len(line)
            if size >= run_bytes:
                runs.append(_spill(held, folder))
                held, size = [], 0
        held.sort()
        if not runs:
            yield from held
            return
        yield from heapq.merge(*(_read(run) for run in runs), held)
    finally:
        for run in runs:
            run.close()


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


def _read(run: IO[bytes]) -> Iterator[bytes]:
    for line in run:
        yield line[:-1]
