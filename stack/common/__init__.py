"""What every room needs and no library gives: waiting, locks, the end of a program's output."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout: float, every: float = 0.2) -> T:
    """Call `condition` until its answer is true or `timeout` seconds are over; its last answer."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()) and time.monotonic() < deadline:
        time.sleep(every)
    return answer


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a folder or of a file, which is created, waiting for another process."""
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def last_lines(text: str, count: int, indent: str = "    ") -> str:
    """The end of what a program printed, each line indented."""
    return "\n".join(f"{indent}{line}" for line in text.strip().splitlines()[-count:])
