"""Figures of the native runtime: start, latency and memory; burst.py has the throughput.

`python -m bench native` starts a separate stack on free ports and stops it. Compare only runs of
one machine.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from bench.table import Row, print_table
from stack import artifacts, settings
from stack.engines import Selection
from stack.runtimes.supervisor import Supervisor
from tests.support.native_stack import StackUnderTest, line, record

PROBES = 60
IDLE_SECONDS = 20


def main() -> None:
    """Measure everything and print one table."""
    artifacts.ensure_all(settings.load({}), lambda name, text: None)
    with tempfile.TemporaryDirectory(prefix="bench ") as folder:
        stack = StackUnderTest(Path(folder))
        try:
            rows = [*measure_start(stack), *measure_latency(stack), *measure_idle_memory(stack)]
        finally:
            stack.run("down")
    print_table("Native runtime", rows)


def measure_start(stack: StackUnderTest) -> Iterator[Row]:
    """The first start with built binaries, and a second `up`."""
    for name, aim in (("start, binaries built", "<= 15 s"), ("`up` again", "")):
        began = time.monotonic()
        stack.up()
        yield Row(name, f"{time.monotonic() - began:.1f} s", aim)


def measure_latency(stack: StackUnderTest) -> Iterator[Row]:
    """The time from writing a line until its record is found, for single lines."""
    mark = uuid.uuid4().hex
    written: dict[int, float] = {}
    seconds: dict[int, float] = {}
    day = _today()
    next_probe = time.monotonic()
    deadline = next_probe + 120
    while len(seconds) < PROBES and time.monotonic() < deadline:
        if len(written) < PROBES and time.monotonic() >= next_probe:
            number = len(written)
            stack.write(line(record(mark=mark, number=number)))
            written[number] = time.monotonic()
            next_probe += 0.25 + random.random() * 0.1  # noqa: S311 -- out of step with polling
        text = f'mark:="{mark}" | fields number'
        for row in stack.engine.query(text, day, limit=PROBES):
            seconds.setdefault(int(row["number"]), time.monotonic() - written[int(row["number"])])
        time.sleep(0.02)
    ordered = sorted(seconds.values())
    yield Row("record searchable, median", f"{statistics.median(ordered):.2f} s", "")
    yield Row("record searchable, p95", f"{ordered[int(len(ordered) * 0.95)]:.2f} s", "<= 5 s")


def measure_idle_memory(stack: StackUnderTest) -> Iterator[Row]:
    """Memory of supervisord and all components, IDLE_SECONDS after the load.

    Proportional: pages that processes share count once (`Pss` in proc_pid_smaps(5)). The sum of
    resident sizes counts them once per process.
    """
    time.sleep(IDLE_SECONDS)
    root = psutil.Process(Supervisor(stack.target).pid())
    found = [process.memory_full_info() for process in (root, *root.children(recursive=True))]
    resident = sum(item.rss for item in found) / 1024**2
    proportional = sum(item.pss for item in found) / 1024**2
    figures = f"{proportional:.0f} MiB ({resident:.0f} MiB resident)"
    yield Row("memory, idle, all components", figures, "<= 400 MiB")


def _today() -> Selection:
    now = datetime.now(UTC)
    return Selection(since=now - timedelta(days=1), until=now + timedelta(days=1))


if __name__ == "__main__":
    main()
