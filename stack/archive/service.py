"""The archiver: export and gate in one step, once or again and again.

`logstack archive run` calls it; under supervisor it goes on for ever. What it did is recorded for
the alert rules, also when it fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import requests

from stack.archive import ArchiveError, expire, export
from stack.archive.context import Archive, OnProgress, no_progress
from stack.archive.events import record_event
from stack.archive.format.layout import day_of
from stack.common import wait_until
from stack.engines import EngineError
from stack.settings.units import parse_duration

RETRY_AFTER = timedelta(minutes=5)
# What may be over by the next run: of the store, the engine, and this machine's disk.
FAILURES = (ArchiveError, EngineError, OSError)


@dataclass(frozen=True)
class RunResult:
    exported: export.Exported
    gate: expire.Gate


def run(
    archive: Archive, *, include_current: bool = False, on_progress: OnProgress = no_progress
) -> RunResult:
    """Export what is missing, then let verified days go. Raises FAILURES, once recorded."""
    try:
        record_event(archive, "INFO", "archive_run_started", "Archiving began")
        exported = export.run(archive, include_current=include_current, on_progress=on_progress)
        gate = expire.run(archive, on_progress=on_progress)
    except FAILURES as error:
        with suppress(OSError):  # where nothing can be recorded, what went wrong first is raised
            record_event(archive, "ERROR", "archive_run_failed", f"Archiving failed: {error}")
        raise
    finally:
        archive.store.close()
    _report_gate(archive, gate)
    record_event(
        archive,
        "INFO",
        "archive_run_finished",
        f"Archived {exported.records} records of {exported.hours} hours",
        archived_hours=exported.hours,
        archived_records=exported.records,
        compressed_bytes=exported.compressed_bytes,
    )
    return RunResult(exported, gate)


def run_for_ever(open_archive: Callable[[], Archive], say: Callable[[str], None]) -> None:
    """Run at every interval, and sooner after a failure. Settings are read again each time."""
    wait_for_programs(open_archive())
    while True:
        archive = open_archive()
        values = archive.settings.archive
        now = archive.now()
        try:
            result = run(archive)
            say(f"archived {result.exported.records} records of {result.exported.hours} hours")
            wake = next_run(now, parse_duration(values.interval), parse_duration(values.settle))
        except FAILURES as error:
            say(str(error))
            wake = now + min(RETRY_AFTER, parse_duration(values.interval))
        time.sleep(max(1.0, (wake - archive.now()).total_seconds()))


def wait_for_programs(archive: Archive) -> None:
    """Wait for the engine and the store, which start together with the archiver: that they do not
    answer yet is no failure to be alerted on. What still does not answer after a while is one."""
    patience = parse_duration(archive.settings.timing.start_timeout).total_seconds()
    wait_until(lambda: _answer(archive), patience, every=0.5)
    archive.store.close()


def _answer(archive: Archive) -> bool:
    try:
        archive.engine.version()
        requests.get(archive.store.access.endpoint, timeout=2)  # whatever it answers
    except (EngineError, requests.RequestException):
        return False
    return True


def next_run(now: datetime, interval: timedelta, settle: timedelta) -> datetime:
    """The next moment of the day's grid of intervals, `settle` after each."""
    start = day_of(now) + settle
    steps = max(0, (now - start) // interval + 1)
    return start + steps * interval


def _report_gate(archive: Archive, gate: expire.Gate) -> None:
    for day, problems in gate.kept.items():
        record_event(
            archive,
            "ERROR",  # the alert ArchiveDayKept pages; CriticalLogged would as well
            "archive_day_kept",
            f"{day} is over its time in the engine and not verified: {problems[0]}",
            day=day,
        )
    for day, count in gate.shortened.items():
        text = f"{count} records of {day} leave the engine before the day (retention.shorter)"
        record_event(
            archive, "INFO", "archive_records_dropped", text, day=day, dropped_records=count
        )
    for day in gate.dropped:
        record_event(archive, "INFO", "archive_day_dropped", f"{day} left the engine", day=day)
    for day in gate.dropped_for_space:
        text = f"{day} left the engine before its time: it was over limits.hot_disk"
        record_event(archive, "WARNING", "archive_day_dropped_for_space", text, day=day)
