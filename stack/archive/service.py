"""The archiver: export and expiry in one run, once or at every interval.

`logstack archive run` calls it; supervisor keeps it running. Each run logs what it did, or why it
failed, for the alert rules.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import requests

from stack.archive import ArchiveError, anchors, expire, export
from stack.archive.context import Archive, OnProgress, no_progress
from stack.archive.events import record_event
from stack.archive.format.layout import day_of
from stack.common import wait_until
from stack.common.counted import counted
from stack.engines import EngineError
from stack.settings.units import parse_duration

RETRY_AFTER = timedelta(minutes=5)
# Of the store, the engine and this machine's disk: the next run may succeed.
FAILURES = (ArchiveError, EngineError, OSError)


@dataclass(frozen=True)
class RunResult:
    exported: export.Exported
    expiry: expire.ExpiryResult


def run(
    archive: Archive, *, include_current: bool = False, on_progress: OnProgress = no_progress
) -> RunResult:
    """Export what is missing, then expire verified days. Raises FAILURES, which it logs."""
    try:
        record_event(archive, "INFO", "archive_run_started", "Archiving began")
        ledger = archive.new_ledger()  # read once: a year's takes seconds
        exported = export.run(
            archive, ledger=ledger, include_current=include_current, on_progress=on_progress
        )
        expiry = expire.run(archive, ledger=ledger, on_progress=on_progress)
    except FAILURES as caught:
        error = _with_folder(archive, caught)
        with suppress(OSError):  # the first error is raised, also where the log cannot be written
            record_event(archive, "ERROR", "archive_run_failed", f"Archiving failed: {error}")
        raise error from caught
    finally:
        archive.store.close()
    _log_expiry(archive, expiry)
    record_event(
        archive,
        "INFO",
        anchors.FINISHED,
        f"Archived {counted(exported.records, 'record')} of {counted(exported.hours, 'hour')}",
        archived_hours=exported.hours,
        archived_records=exported.records,
        compressed_bytes=exported.compressed_bytes,
        erased_records=exported.erased_before,
        chain_head=exported.chain_head,
        chain_place=anchors.place_of(archive),
    )
    return RunResult(exported, expiry)


def _with_folder(archive: Archive, error: Exception) -> Exception:
    """An error of this machine's disk with the folder that the archive writes to."""
    if not isinstance(error, OSError):
        return error
    cause = (error.strerror or str(error)).lower()
    return ArchiveError(
        f"cannot write to {error.filename or archive.folder}: {cause}. An hour's parts take up to "
        f"{archive.settings.archive.part} there. Run: df -h {archive.folder}"
    )


def run_forever(
    open_archive: Callable[[], Archive],
    note: Callable[[str], None],
    finish: Callable[[RunResult], None] = lambda result: None,
) -> None:
    """Run at every interval, and sooner after a failure. Each run reads the settings again.

    `finish` is called after each run that succeeded.
    """
    wait_for_programs(open_archive())
    while True:
        archive = open_archive()
        values = archive.settings.archive
        now = archive.now()
        try:
            result = run(archive)
            finish(result)
            note(
                f"archived {counted(result.exported.records, 'record')} of "
                f"{counted(result.exported.hours, 'hour')}"
            )
            wake = next_run(now, parse_duration(values.interval), parse_duration(values.settle))
        except FAILURES as error:
            note(str(error))
            wake = now + min(RETRY_AFTER, parse_duration(values.interval))
        time.sleep(max(1.0, (wake - archive.now()).total_seconds()))


def wait_for_programs(archive: Archive) -> None:
    """Wait up to timing.start_timeout for the engine and the store, which start together with the
    archiver: a run before that would fail and raise an alert."""
    patience = parse_duration(archive.settings.timing.start_timeout).total_seconds()
    wait_until(lambda: _answer(archive), patience, every=0.5)
    archive.store.close()


def _answer(archive: Archive) -> bool:
    try:
        _ = archive.engine.version
        requests.get(archive.store.access.endpoint, timeout=2)  # any answer will do
    except (EngineError, requests.RequestException):
        return False
    return True


def next_run(now: datetime, interval: timedelta, settle: timedelta) -> datetime:
    """The next run: `settle` after a multiple of `interval` since midnight UTC."""
    start = day_of(now) + settle
    steps = max(0, (now - start) // interval + 1)
    return start + steps * interval


def _log_expiry(archive: Archive, expiry: expire.ExpiryResult) -> None:
    for day, problems in expiry.blocked.items():
        record_event(
            archive,
            "ERROR",  # the alert ArchiveDayKept pages; CriticalLogged would as well
            "archive_day_kept",
            f"{day} exceeded retention but is not verified in the archive: {problems[0]}",
            day=day,
        )
    for day, problems in expiry.unverified.items():
        text = f"{day} cannot be verified in the archive: {problems[0]}"
        record_event(archive, "ERROR", "archive_day_unverified", text, day=day)
    for day, count in expiry.shortened.items():
        text = f"Deleting {counted(count, 'record')} of {day} from the engine (retention.shorter)"
        record_event(
            archive, "INFO", "archive_records_dropped", text, day=day, dropped_records=count
        )
    for day in expiry.dropped:
        text = f"Deleted {day} from the engine"
        record_event(archive, "INFO", "archive_day_dropped", text, day=day)
    for day in expiry.dropped_for_space:
        text = f"Deleted {day} from the engine early: the engine is over limits.hot_disk"
        record_event(archive, "WARNING", "archive_day_dropped_for_space", text, day=day)
