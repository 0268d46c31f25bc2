"""Figures of the native runtime: start, latency, memory, and a burst of 200,000 records.

`python -m bench native` starts a stack of its own on free ports and stops it. Every figure is of
this machine and this moment: compare runs of one machine only.
"""

from __future__ import annotations

import json
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
from stack.supervisor import Supervisor
from tests.native.harness import StackUnderTest, line, record

BURST = 200_000
PROBES = 60
IDLE_SECONDS = 20
RECORD_BYTES = 560


def main() -> None:
    """Measure everything and print one table."""
    artifacts.obtain_all(settings.load({}), lambda name, text: None)
    with tempfile.TemporaryDirectory(prefix="bench ") as folder:
        stack = StackUnderTest(Path(folder))
        try:
            rows = [*measure_start(stack), *measure_latency(stack)]
            rows += [*measure_idle_memory(stack), *measure_burst(stack)]
        finally:
            stack.run("down")
    print_table("Native runtime", rows)


def measure_start(stack: StackUnderTest) -> Iterator[Row]:
    """First start of a stack whose binaries are built, and a second `up`."""
    for name, wanted in (("start, binaries built", "<= 15 s"), ("`up` again", "")):
        began = time.monotonic()
        stack.up()
        yield Row(name, f"{time.monotonic() - began:.1f} s", wanted)


def measure_latency(stack: StackUnderTest) -> Iterator[Row]:
    """From a line being written to its record being found, for single lines."""
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
    """Resident memory of supervisord and all components after a quiet while."""
    time.sleep(IDLE_SECONDS)
    root = psutil.Process(Supervisor(stack.target).pid())
    resident = sum(process.memory_info().rss for process in (root, *root.children(recursive=True)))
    yield Row("resident, idle, all components", f"{resident / 1024**2:.0f} MiB", "<= 600 MiB")


def measure_burst(stack: StackUnderTest) -> Iterator[Row]:
    """All records are in the file at once; the time until the last is searchable."""
    mark = uuid.uuid4().hex
    lines = list(typical_lines(BURST, mark))
    size = sum(len(text) + 1 for text in lines)
    processes = {
        name: psutil.Process(stack.statuses()[name]["pid"]) for name in ("otelcol", "victorialogs")
    }
    before = {name: _cpu_seconds(process) for name, process in processes.items()}
    began = time.monotonic()
    stack.write(*lines)
    while stack.count({"mark": mark}) < BURST and time.monotonic() < began + 300:
        time.sleep(0.5)  # asking costs the engine CPU time too
    elapsed = time.monotonic() - began
    used = {name: _cpu_seconds(process) - before[name] for name, process in processes.items()}
    text = f'mark:="{mark}" | stats count() as all, count_uniq(number) as numbers'
    [counts] = stack.engine.query(text, _today(), limit=1)
    lost = BURST - int(counts["numbers"])
    doubled = int(counts["all"]) - int(counts["numbers"])
    per_million = {name: seconds / BURST * 1e6 for name, seconds in used.items()}
    yield Row(f"burst of {BURST:,} records: lost, doubled", f"{lost}, {doubled}", "0, 0")
    yield Row("records/s", f"{BURST / elapsed:,.0f}", ">= 31,000")
    yield Row("MB/s", f"{size / elapsed / 1e6:.1f}", "")
    for name, seconds in per_million.items():
        yield Row(f"CPU s per million records, {name}", f"{seconds:.1f}", "")
    total = sum(per_million.values())
    yield Row("CPU s per million records, both", f"{total:.1f}", "<= 45")
    yield Row("bytes per record", f"{size / BURST:.0f}", "")


def typical_lines(count: int, mark: str) -> Iterator[str]:
    """Lines of about RECORD_BYTES, as the logging library writes them; the same every run."""
    chance = random.Random(1)  # noqa: S311 -- reproducible on purpose
    start = datetime.now(UTC) - timedelta(milliseconds=count)
    for number in range(count):
        moment = start + timedelta(milliseconds=number)
        values = {
            "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": chance.choice(("INFO",) * 8 + ("WARNING", "ERROR")),
            "logger_name": "organizations.views",
            "message": f"Organization {number} created successfully",
            "service_name": "erp-backend-api",
            "environment": "dev",
            "trace_id": f"{chance.getrandbits(128):032x}",
            "request_id": f"{chance.getrandbits(128):032x}",
            "user_id": chance.randrange(5000),
            "username": f"user{chance.randrange(5000)}",
            "organization_id": chance.randrange(300),
            "session_id": f"{chance.getrandbits(64):016x}",
            "client_ip": f"203.0.113.{chance.randrange(255)}",
            "event_type": "organization_created",
            "duration_ms": round(chance.random() * 100, 3),
            "object_id": number,
            "object_type": "organizations.Organization",
            "number": number,
            "mark": mark,
        }
        yield json.dumps(values, separators=(",", ":"))


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _today() -> Selection:
    now = datetime.now(UTC)
    return Selection(since=now - timedelta(days=1), until=now + timedelta(days=1))


if __name__ == "__main__":
    main()
