"""A steady load: numbered records appended to a log file, while tests and drills break things."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.native_stack import poll, record

TICK = 0.1  # seconds


@dataclass
class Writer:
    """Appends `rate` records a second to `path`, each with `size` bytes more than its fields.

    `written` is their number so far. `ahead` is by how much the application's clock is wrong.
    """

    path: Path
    mark: str
    rate: int
    size: int = 0
    ahead: timedelta = timedelta(0)
    written: int = 0
    _stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Until it is stopped. What a slow machine did not manage in time is written later."""
        began = time.monotonic()
        while not self._stopped.wait(TICK):
            due = int((time.monotonic() - began) * self.rate)
            with self._lock:
                self._append(min(due - self.written, self.rate))

    def _append(self, count: int) -> None:
        moment = (datetime.now(UTC) + self.ahead).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        fields = {"mark": self.mark, "padding": "x" * self.size, "timestamp": moment}
        numbers = range(self.written, self.written + count)
        lines = (json.dumps(record("steady", number=number, **fields)) for number in numbers)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
        self.written += count

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No record is written while the block runs."""
        with self._lock:
            yield

    def wait_for(self, seconds: float) -> None:
        """Until as many more records are written as belong to so many seconds."""
        aim = self.written + int(seconds * self.rate)
        poll(lambda: self.written >= aim, lambda: f"{aim} records", timeout=seconds * 3 + 30)

    def stop(self) -> None:
        self._stopped.set()


@contextmanager
def writing(path: Path, mark: str, rate: int, size: int = 0) -> Iterator[Writer]:
    """Writes until the block ends."""
    writer = Writer(path, mark, rate, size)
    thread = threading.Thread(target=writer.run, daemon=True)
    thread.start()
    try:
        yield writer
    finally:
        writer.stop()
        thread.join()
