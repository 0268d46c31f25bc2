"""Figures of the archive: export, restore, size, memory, and a search in thirty days.

`python -m bench archive` starts two VictoriaLogs and a SeaweedFS on free ports. Each figure is
compared with the usual way without an archive, on the same records: a query whose output is piped
into gzip, and zgrep over such files.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from random import Random

import psutil

from bench.table import Row, print_table
from stack.archive.format.layout import DAY, HOUR
from tests.support.archives import ArchiveUnderTest, at, in_folder, yesterday
from tests.support.native_stack import logstack_argv

HOUR_RECORDS = 200_000
DAYS = 30
RECORDS_A_DAY_HOUR = 150
BATCH = 20_000
PATHS = ("/api/invoices/", "/api/organizations/7/", "/api/me/", "/api/reports/slow/")


def main() -> None:
    """Measure everything and print one table."""
    rows: list[Row] = []
    for measure in (measure_hour, measure_search):
        with tempfile.TemporaryDirectory(prefix="bench ") as folder:
            variables = {"LOGSTACK_RETENTION__HOT_DAYS": "60", "LOGSTACK_ARCHIVE__LATENESS": "40d"}
            archive = in_folder(Path(folder), None, variables)
            archive.now = None  # the clock's, as for the commands that are measured
            archive.start()
            archive.start_restored()
            try:
                rows += measure(archive)
            finally:
                archive.stop()
    print_table("Archive", rows)


def measure_hour(archive: ArchiveUnderTest) -> Iterator[Row]:
    """One hour of one service: export, restore, and its size in each form."""
    start = yesterday(3)
    push(archive, (start + n * HOUR / HOUR_RECORDS for n in range(HOUR_RECORDS)))
    seconds, peak = run_logstack(archive, "archive", "run")
    report = archive.verify()
    raw, records = report["raw_bytes"], report["records"]
    yield Row("export", speed(raw, records, seconds))
    yield Row("export, memory", f"{peak / 1e6:.0f} MB", "<= 200 MB")
    gzipped = archive.folder / "peer.gz"
    seconds = plain_export(archive, gzipped, start, start + HOUR)
    yield Row("  plain query | gzip -6", speed(raw, records, seconds))
    seconds, _ = run_logstack(archive, "archive", "verify", "--deep")
    yield Row("verify --deep", speed(raw, records, seconds))
    span = ("--from", "3d", "--to", "now")
    seconds, peak = run_logstack(archive, "archive", "restore", *span)
    yield Row("restore", speed(raw, records, seconds))
    yield Row("restore, memory", f"{peak / 1e6:.0f} MB", "<= 200 MB")
    everything = ("archive", "search", *span, "--json", "-n", str(2 * HOUR_RECORDS))
    seconds, peak = run_logstack(archive, *everything)
    yield Row("search of everything", speed(raw, records, seconds))
    yield Row("search of everything, memory", f"{peak / 1e6:.0f} MB", "<= 200 MB")
    parts = [
        archive.archive.store.get(part.key)
        for hour in archive.archive.ledger().hours.values()
        for part in hour.parts.values()
    ]
    ndjson = subprocess.run(["zstd", "-dc"], input=b"".join(parts), capture_output=True, check=True)
    ours = report["compressed_bytes"]
    yield Row("size, lines", f"{raw / 1e6:.1f} MB")
    yield Row("size, archive", f"{ours / 1e6:.2f} MB, {raw / ours:.1f}:1")
    theirs = len(gzip.compress(ndjson.stdout, 6))
    yield Row("  gzip -6 of the same lines", f"{theirs / 1e6:.2f} MB, {raw / theirs:.1f}:1")
    archive.stop("victorialogs")
    archive.start("victorialogs")
    engine = archive.archive.engine.disk_bytes()
    yield Row("  the engine's own size on disk", f"{engine / 1e6:.2f} MB, {raw / engine:.1f}:1")


def measure_search(archive: ArchiveUnderTest) -> Iterator[Row]:
    """Search for one request in thirty days of hourly parts."""
    first = yesterday() - (DAYS - 1) * DAY
    request_id = uuid.uuid4().hex
    moments = (
        first + n * HOUR + k * HOUR / RECORDS_A_DAY_HOUR
        for n in range(DAYS * 24)
        for k in range(RECORDS_A_DAY_HOUR)
    )
    push(archive, moments)
    archive.push([at(first + 17 * DAY, "this one", request_id=request_id)])
    seconds, _ = run_logstack(archive, "archive", "run")
    yield Row(f"export of {DAYS * 24} small hours", f"{DAYS * 24 / seconds:.0f} hours/s")
    span = ("--from", "40d", "--json")
    run_logstack(archive, "archive", "search", *span, "--request-id", "unknown")  # compiles
    for name in ("search of a request_id in 30 days", "  the same again"):
        began = time.monotonic()
        found = subprocess.run(
            logstack_argv("archive", "search", *span, "--request-id", request_id),
            env=environ(archive),
            cwd=archive.folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        seconds = time.monotonic() - began
        check(json.loads(found)["message"] == "this one", "the search found another record")
        yield Row(name, f"{seconds:.2f} s")
    folder = archive.folder / "days"
    folder.mkdir()
    for day in range(DAYS):
        start = first + day * DAY
        plain_export(archive, folder / f"{day}.gz", start, start + DAY)
    began = time.monotonic()
    files = sorted(str(path) for path in folder.glob("*.gz"))
    found = subprocess.run(
        ["zgrep", "-h", request_id, *files], capture_output=True, text=True, check=True
    ).stdout
    check(json.loads(found)["_msg"] == "this one", "zgrep found another record")
    yield Row("  zgrep over daily .gz files", f"{time.monotonic() - began:.2f} s")


def push(archive: ArchiveUnderTest, moments: Iterator[datetime]) -> None:
    """Push a record of about 560 bytes for each moment, the same in every run."""
    random = Random(7)  # noqa: S311 -- the same records in every run
    batch = []
    for moment in moments:
        batch.append(
            at(
                moment,
                f"GET {random.choice(PATHS)} answered in {random.randrange(900)} ms",
                level=random.choice(["INFO"] * 9 + ["ERROR"]),
                request_id=f"{random.getrandbits(128):032x}",
                trace_id=f"{random.getrandbits(128):032x}",
                user_id=random.randrange(5000),
                username=f"user{random.randrange(5000)}",
                organization_id=random.randrange(90),
                client_ip=f"203.0.113.{random.randrange(256)}",
                event_type="request_finished",
                duration_ms=random.randrange(900_000) / 1000,
                status=random.choice([200, 200, 200, 404, 500]),
            )
        )
        if len(batch) == BATCH:
            archive.push(batch)
            batch = []
    if batch:
        archive.push(batch)


def run_logstack(archive: ArchiveUnderTest, *arguments: str) -> tuple[float, int]:
    """Run a command; its seconds and peak resident bytes."""
    began, peak = time.monotonic(), 0
    process = psutil.Popen(
        logstack_argv(*arguments),
        env=environ(archive),
        cwd=archive.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None:
        try:
            peak = max(peak, process.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    check(process.wait() == 0, f"`logstack {' '.join(arguments)}` failed")
    return time.monotonic() - began, peak


def environ(archive: ArchiveUnderTest) -> dict[str, str]:
    """As in normal use: Python caches compiled modules, so that commands start faster."""
    return {k: v for k, v in archive.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def plain_export(archive: ArchiveUnderTest, path: Path, since: datetime, until: datetime) -> float:
    """Seconds of the usual way without an archive: a query over HTTP, piped into gzip."""
    url = archive.target.url("victorialogs", "/select/logsql/query")
    query = f"_time:[{since:%Y-%m-%dT%H:%M:%SZ}, {until:%Y-%m-%dT%H:%M:%SZ}) *"
    began = time.monotonic()
    with path.open("wb") as file:
        curl = subprocess.Popen(
            ["curl", "--silent", "--fail", url, "--data-urlencode", f"query={query}"],
            stdout=subprocess.PIPE,
        )
        subprocess.run(["gzip", "-6"], stdin=curl.stdout, stdout=file, check=True)
        check(curl.wait() == 0, "the plain query failed")
    return time.monotonic() - began


def check(right: bool, text: str) -> None:
    """Raises RuntimeError for a measurement that went wrong."""
    if not right:
        raise RuntimeError(text)


def speed(raw: int, records: int, seconds: float) -> str:
    """Megabytes (of lines) and records per second, as text."""
    return f"{raw / 1e6 / seconds:.1f} MB/s, {records / seconds:,.0f} records/s"
