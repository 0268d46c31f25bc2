"""Small helpers for every part of the stack: waiting, locks, output of programs, text."""

from __future__ import annotations

import difflib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout: float, every: float = 0.2) -> T:
    """Call `condition` until it is true or `timeout` seconds have passed; its last result."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()) and time.monotonic() < deadline:
        time.sleep(every)
    return answer


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Wait for and hold the lock of a folder, or of a file, which is created if missing."""
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def last_lines(text: str, count: int, indent: str = "    ") -> str:
    """The last lines of a program's output, each indented."""
    return "\n".join(f"{indent}{line}" for line in text.strip().splitlines()[-count:])


def quote(text: str) -> str:
    """Text as a string literal of JSON, LogQL, LogsQL and Go templates."""
    return json.dumps(text, ensure_ascii=False)


def suggest(name: str, known: Iterable[str]) -> str:
    """` Did you mean X?` for the nearest known name; empty when none is near."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {nearest[0]}?" if nearest else ""
