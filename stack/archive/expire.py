"""Deletes days from the hot engine: only those whose archive is complete and verified.

The engine's own retention is longer by retention.margin_days and only the last resort. A day is
verified once, after the last moment at which a record of it may arrive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from stack.archive import ArchiveError, early_expiry
from stack.archive.context import Archive, OnProgress, no_progress
from stack.archive.export import Exported, export_hour, has_more
from stack.archive.failpoints import failpoint
from stack.archive.format.layout import DAY, HOUR, day_name, hours, manifest_key
from stack.archive.format.manifest import parse
from stack.archive.lifecycle import remove_overdue
from stack.archive.storage.ledger import Ledger
from stack.archive.storage.part_cache import NotCachedError
from stack.archive.storage.store import WITH_READER, MissingError
from stack.archive.verify import NOT_IN_STORE, check_part
from stack.settings.units import parse_bytes


@dataclass
class ExpiryResult:
    """What a run verified and deleted in the engine, days as `2026-01-31`.

    `unverified` days could not be verified and are younger than retention.hot_days, `blocked` ones
    exceeded it and cannot be deleted, both with the reasons; `shortened` counts the records that
    are deleted before their day (retention.shorter). `expired_parts` were deleted in the local
    store, after archive.days.
    """

    verified: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    dropped_for_space: list[str] = field(default_factory=list)
    unverified: dict[str, list[str]] = field(default_factory=dict)
    blocked: dict[str, list[str]] = field(default_factory=dict)
    shortened: dict[str, int] = field(default_factory=dict)
    expired_parts: int = 0


# A day that failed so often is read again after AGAIN: all of it, from a store that costs money.
ATTEMPTS, AGAIN = 3, timedelta(hours=6)
MOST_PROBLEMS = 20  # of a day in the state file


class Decision(Enum):
    """What is due for a day in the engine."""

    KEEP = auto()
    BLOCK = auto()
    DROP_RECORDS = auto()
    DROP_DAY = auto()


def run(
    archive: Archive, *, ledger: Ledger | None = None, on_progress: OnProgress = no_progress
) -> ExpiryResult:
    """Verify days that are final, then delete those past retention or too large for the disk.

    `ledger`: one to use, as far as it was read. Raises ArchiveError, EngineError.
    """
    result = ExpiryResult()
    with archive.exclusive_lock():
        ledger = archive.ledger(ledger)
        for day in archive.engine.days():
            unverified = day_name(day) not in verified_days(archive)
            if unverified and is_final(archive, day) and not _waits(archive, day, result):
                on_progress(day_name(day), "verifying")
                _verify(archive, ledger, day, result)
        for day in archive.engine.days():
            _apply(archive, ledger, day, decide(archive, day), result)
        _free_disk(archive, ledger, result)
        result.expired_parts = remove_overdue(archive)
    return result


def decide(archive: Archive, day: datetime) -> Decision:
    """What the settings and this machine's state ask for; changes nothing."""
    verified = day_name(day) in verified_days(archive)
    if is_over(archive, day):
        return Decision.DROP_DAY if verified else Decision.BLOCK
    return Decision.DROP_RECORDS if verified and early_expiry.due(archive, day) else Decision.KEEP


def _apply(
    archive: Archive, ledger: Ledger, day: datetime, decision: Decision, result: ExpiryResult
) -> None:
    """Carry out a decision; what came to the day since it was verified is archived first."""
    name = day_name(day)
    if decision is Decision.BLOCK:
        result.blocked.setdefault(name, ["it is not final yet"])
    elif decision is Decision.DROP_RECORDS:
        _drop_records(archive, ledger, day, result)
    elif decision is Decision.DROP_DAY:
        if problems := _archive_latest(archive, ledger, day):
            result.blocked[name] = problems
        elif _drop_day(archive, day):
            result.dropped.append(name)


def _verify(archive: Archive, ledger: Ledger, day: datetime, result: ExpiryResult) -> None:
    """Read a day back and save that it is verified.

    What came to it and no run looked for, because none finished within archive.lateness, is
    archived first.
    """
    name = day_name(day)
    failed = failed_days(archive)
    problems = (
        _archive_latest(archive, ledger, day)
        if archive.store.can_read and _may_lack(archive, ledger, day)
        else check_day(archive, ledger, day)
    )
    if problems:
        _report_unverified(archive, day, problems, result)
        before = failed.get(name, {"since": _moment(archive), "attempts": 0})
        entry = {
            **before,
            "last": _moment(archive),
            "attempts": before["attempts"] + 1,
            "problems": problems[:MOST_PROBLEMS],
        }
        archive.save_state(unverified={**failed, name: entry})
        return
    failed.pop(name, None)
    verified = {**verified_days(archive), name: _moment(archive)}
    archive.save_state(verified=verified, unverified=failed)
    result.verified.append(name)
    failpoint("day-verified")


def _waits(archive: Archive, day: datetime, result: ExpiryResult) -> bool:
    """Whether a day failed so often that it is read again later; reported in any case."""
    entry = failed_days(archive).get(day_name(day))
    if entry is None or entry["attempts"] < ATTEMPTS:
        return False
    if datetime.fromisoformat(entry["last"]) + AGAIN <= archive.now():
        return False
    _report_unverified(archive, day, entry["problems"], result)
    return True


def _report_unverified(
    archive: Archive, day: datetime, problems: list[str], result: ExpiryResult
) -> None:
    reported = result.blocked if is_over(archive, day) else result.unverified
    reported[day_name(day)] = problems


def _drop_records(archive: Archive, ledger: Ledger, day: datetime, result: ExpiryResult) -> None:
    """Delete the records of a verified day that retention.shorter keeps for fewer days."""
    kinds = early_expiry.due(archive, day)
    count = archive.engine.count_of(day, kinds)
    if not count:
        early_expiry.save_state(archive, day, kinds, early_expiry.GONE)
    elif problems := _archive_latest(archive, ledger, day):
        result.blocked[day_name(day)] = problems
    else:
        early_expiry.save_state(archive, day, kinds, early_expiry.ASKED)
        failpoint("records-due")
        if archive.engine.drop_records(day, kinds):
            result.shortened[day_name(day)] = count


def check_day(archive: Archive, ledger: Ledger, day: datetime) -> list[str]:
    """Why a day may not be deleted; nothing when all of it can be read back and counted.

    Listings are not trusted here: each object is read from the store.
    """
    if not archive.store.can_read:
        return [f"cannot read the day back: the reader's key is not set. Run: {WITH_READER}"]
    problems = uncounted(archive, ledger, day)
    for start in hours(day, day + DAY):
        if known := ledger.hours.get(start):
            problems += _unreadable_manifests(archive, known.manifests)
            for part in known.parts.values():
                problems += [problem.text for problem in check_part(archive, part)]
    return problems


def _unreadable_manifests(archive: Archive, numbers: list[int]) -> list[str]:
    """What is wrong with manifests in the store; a cached copy is no proof."""
    problems = []
    for number in numbers:
        key = manifest_key(archive.tenant, number)
        try:
            manifest = parse(archive.store.get(key), archive.key.public_key())
        except MissingError:
            problems.append(f"{key}: {NOT_IN_STORE}")
        except ArchiveError as error:
            problems.append(f"{key}: {error}")
        else:
            if manifest.sequence != number:
                problems.append(f"{key}: expected manifest {number}, got {manifest.sequence}")
    return problems


def _archive_latest(archive: Archive, ledger: Ledger, day: datetime) -> list[str]:
    """Archive what came to a verified day since, however late; what is wrong with it then."""
    if not _may_lack(archive, ledger, day):
        return []
    try:
        for start in hours(day, day + DAY):
            export_hour(archive, ledger, start, start + HOUR, Exported())
    except NotCachedError as error:
        return [str(error)]
    archive.save_state(length=ledger.length, head=ledger.head)
    return check_day(archive, ledger, day)


def _may_lack(archive: Archive, ledger: Ledger, day: datetime) -> bool:
    """Whether the archive may lack records of a day.

    Counts do not say so of an hour with erased records, which the engine has or has not any more:
    late records may have taken their place.
    """
    known = (ledger.hours.get(start) for start in hours(day, day + DAY))
    return any(hour and hour.erased for hour in known) or bool(uncounted(archive, ledger, day))


def uncounted(archive: Archive, ledger: Ledger, day: datetime) -> list[str]:
    """What the engine has of a day and the archive lacks, by counts."""
    counts = archive.engine.hourly_counts(day, day + DAY)
    problems = []
    for start in hours(day, day + DAY):
        in_engine = counts.get(start, {})
        known = ledger.hours.get(start)
        if known is None:
            if in_engine:
                problems.append(f"{start:%H}:00 is not archived")
            continue
        if not known.complete:
            problems.append(f"{start:%H}:00 is not archived to its end")
        if has_more(in_engine, known):
            problems.append(f"{start:%H}:00 lacks records that the engine has")
    return problems


def is_final(archive: Archive, day: datetime) -> bool:
    """Whether no record of the day can arrive any more."""
    return day + DAY + archive.lateness <= archive.now()


def is_over(archive: Archive, day: datetime) -> bool:
    """Whether the whole day is older than retention.hot_days."""
    return day + DAY + timedelta(days=archive.settings.retention.hot_days) <= archive.now()


def forced(archive: Archive, day: datetime) -> datetime:
    """When the engine deletes the day, archived or not."""
    retention = archive.settings.retention
    return day + DAY + timedelta(days=retention.engine_days(archived=True))


def failed_days(archive: Archive) -> dict[str, Any]:
    """The days that could not be verified: `since`, `last`, number of `attempts`, `problems`."""
    return dict(archive.state().get("unverified", {}))


def verified_days(archive: Archive) -> dict[str, str]:
    """The days verified on this machine, with the moment."""
    return dict(archive.state().get("verified", {}))


def _drop_day(archive: Archive, day: datetime) -> bool:
    """Delete a day; saved first, so that its absence does not count as a loss."""
    name, known = day_name(day), archive.dropped_days()
    if name not in known:
        archive.save_state(dropped={**known, name: _moment(archive)})
    failpoint("day-due")
    return archive.engine.drop_day(day)


def _moment(archive: Archive) -> str:
    return archive.now().isoformat(timespec="seconds")


def _free_disk(archive: Archive, ledger: Ledger, result: ExpiryResult) -> None:
    """Delete verified days, the oldest first, while the engine is over limits.hot_disk.

    Where an engine frees disk space later, the next day waits for that.
    """
    limit = parse_bytes(archive.settings.limits.hot_disk)
    engine = archive.engine
    while limit and not engine.has_pending_deletions() and engine.disk_bytes() > limit:
        verified = verified_days(archive)
        droppable = (
            day
            for day in engine.days()
            if day_name(day) in verified and not uncounted(archive, ledger, day)
        )
        if (oldest := next(droppable, None)) is None:
            return
        _drop_day(archive, oldest)
        result.dropped_for_space.append(day_name(oldest))
