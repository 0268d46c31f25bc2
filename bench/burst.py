"""Throughput of agent and engine: 200,000 records that are written to the file at once.

`python -m bench burst` measures the default pair and, if Loki and Promtail are on PATH, pairs with
them in the same run. Compare the ratios: machines differ, and change from hour to hour. Each pair
gets three bursts in turn; the table shows the median and the range.
"""

from __future__ import annotations

import json
import random
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median

import psutil
import requests

from bench.table import Row, print_table
from stack import artifacts, settings
from tests.support.native_stack import EVERY_COMBINATION, Combination, StackUnderTest

BURST = 200_000
ROUNDS = 3
DEADLINE = 300.0  # seconds


@dataclass(frozen=True)
class Burst:
    """The figures of one pair of agent and engine.

    `cpu`: seconds per million records until the engine has ingested all of them. It includes the
    evaluation of alert rules and excludes the queries of this bench.
    """

    lost: int
    doubled: int
    records_per_s: float
    mb_per_s: float
    cpu: dict[str, float]

    @property
    def cpu_total(self) -> float:
        return sum(self.cpu.values())


def main() -> None:
    """Measure every pair that can run on this machine and print one table for each."""
    pairs = [pair for pair in EVERY_COMBINATION if is_here(pair)]
    bursts: dict[str, list[Burst]] = {str(pair): [] for pair in pairs}
    for _ in range(ROUNDS):  # in turn, so that a slow phase of the machine affects every pair
        for pair in pairs:
            bursts[str(pair)].append(measure(pair))
    default, *peers = bursts
    print_table(f"Burst of {BURST:,} records", [*rows(default, bursts[default])])
    for peer in peers:
        print_table(f"The same into {peer}", [*rows(peer, bursts[peer], bursts[default])])


def is_here(pair: Combination) -> bool:
    """Whether the binaries exist or can be built."""
    values = settings.load(pair.variables)
    cache = artifacts.cache_dir(values)
    return all(
        artifact.is_built or artifacts.find(artifact, cache)
        for artifact in artifacts.required(values).values()
    )


def measure(pair: Combination, variables: Mapping[str, str] | None = None) -> Burst:
    """Start a stack, write the burst, and wait until the last record is searchable."""
    with tempfile.TemporaryDirectory(prefix="bench ") as folder:
        stack = StackUnderTest(Path(folder), {**pair.variables, **(variables or {})})
        try:
            stack.up()
            return _measure(stack, pair)
        finally:
            stack.run("down")


def rows(name: str, bursts: list[Burst], ours: list[Burst] | None = None) -> Iterator[Row]:
    """The figures; with `ours` also the ratios of the default pair to this one."""
    aims = ("0, 0", ">= 31,000", "<= 45") if ours is None else ("", "", "")
    lost, doubled = (sum(getattr(burst, kind) for burst in bursts) for kind in ("lost", "doubled"))
    yield Row(f"{name}: lost, doubled", f"{lost}, {doubled}", aims[0])
    yield Row("records/s", middle(bursts, lambda burst: burst.records_per_s, ",.0f"), aims[1])
    yield Row("MB/s", middle(bursts, lambda burst: burst.mb_per_s, ".1f"))
    for component in bursts[0].cpu:
        values = middle(bursts, partial(_cpu_of, component), ".1f")
        yield Row(f"CPU s per million records, {component}", values)
    total = middle(bursts, lambda burst: burst.cpu_total, ".1f")
    yield Row("CPU s per million records, both", total, aims[2])
    if ours:
        faster = median(b.records_per_s for b in ours) / median(b.records_per_s for b in bursts)
        cpu = median(b.cpu_total for b in ours) / median(b.cpu_total for b in bursts)
        yield Row("records/s of the default pair / these", f"{faster:.2f}")
        yield Row("CPU of the default pair / these", f"{cpu:.2f}")


def middle(bursts: list[Burst], value: Callable[[Burst], float], form: str) -> str:
    """The median of a figure, and its lowest and highest."""
    values = sorted(value(burst) for burst in bursts)
    return f"{median(values):{form}} ({values[0]:{form}} to {values[-1]:{form}})"


def _cpu_of(component: str, burst: Burst) -> float:
    return burst.cpu[component]


def lines_received(stack: StackUnderTest, pair: Combination) -> int:
    """The number of lines that the engine has ingested since it started, by its metrics."""
    name = {
        "victorialogs": "vl_rows_ingested_total",
        "loki": "loki_distributor_lines_received_total",
    }
    page = requests.get(stack.target.url(pair.engine, "/metrics"), timeout=10).text
    values = re.findall(rf"^{name[pair.engine]}(?:{{.*}})? (\S+)$", page, re.MULTILINE)
    return int(sum(float(value) for value in values))


def _measure(stack: StackUnderTest, pair: Combination) -> Burst:
    service = f"bench-{uuid.uuid4().hex[:8]}"
    lines = list(typical_lines(BURST, service))
    size = sum(len(text) + 1 for text in lines)
    statuses = stack.statuses()
    names = (pair.agent, pair.engine)
    processes = {name: psutil.Process(statuses[name]["pid"]) for name in names}
    before = {name: _cpu_seconds(process) for name, process in processes.items()}
    received = lines_received(stack, pair)
    began = time.monotonic()
    stack.write(*lines)
    while lines_received(stack, pair) < received + BURST and time.monotonic() < began + DEADLINE:
        time.sleep(0.2)  # metrics only: a query would add to the engine's CPU time
    used = {name: _cpu_seconds(process) - before[name] for name, process in processes.items()}
    while (found := stack.count({"service_name": service})) < BURST:
        if time.monotonic() > began + DEADLINE:
            break
        time.sleep(0.5)
    elapsed = time.monotonic() - began
    return Burst(
        lost=max(0, BURST - found),
        doubled=max(0, stack.count({"service_name": service}) - BURST),
        records_per_s=found / elapsed,
        mb_per_s=size / elapsed / 1e6,
        cpu={name: seconds / BURST * 1e6 for name, seconds in used.items()},
    )


def typical_lines(count: int, service: str) -> Iterator[str]:
    """Lines of about 560 bytes, as the logging library writes them; the same every run."""
    chance = random.Random(1)  # noqa: S311 -- reproducible on purpose
    start = datetime.now(UTC) - timedelta(milliseconds=count)
    for number in range(count):
        moment = start + timedelta(milliseconds=number)
        values = {
            "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": chance.choice(("INFO",) * 8 + ("WARNING", "ERROR")),
            "logger_name": "organizations.views",
            "message": f"Organization {number} created successfully",
            "service_name": service,
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
        }
        yield json.dumps(values, separators=(",", ":"))


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
