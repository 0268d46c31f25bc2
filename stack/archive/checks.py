"""Compares what the engine and the store report with the settings of the archive.

`logstack doctor` and the archiver of a host call it. Needs neither rules nor templates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from stack.archive import ArchiveError, early_expiry, expire
from stack.archive.context import Archive
from stack.archive.format.layout import HOUR, day_name, hour_of
from stack.archive.lifecycle import is_held, overdue
from stack.archive.storage.bucket import expiry_of, foreign_rules, lock_of
from stack.archive.storage.store import WITH_READER
from stack.common.counted import counted
from stack.engines import EngineError
from stack.engines.kinds import KINDS
from stack.settings.units import format_bytes, parse_bytes, parse_duration

# How long before the engine deletes an unverified day the check of the gate fails.
AHEAD = timedelta(days=7)
# How many runs may be missed before the archive is behind.
MISSED_RUNS = 3
EXPIRY_GRACE = timedelta(days=2)
RENEW = "make up, or on hosts make deploy"
NO_ADMIN = "not checked: it needs the admin's key"


@dataclass(frozen=True)
class Finding:
    """The result of one check: its name, whether it passed, and what it compared.

    Of one that failed, `text` is the cause; `evidence` says how that is known, and `command` is
    what to run.
    """

    check: str
    ok: bool
    text: str
    evidence: str = ""
    command: str = ""


def archive_findings(archive: Archive) -> Iterator[Finding]:
    """Every check; one fails also when the engine or the store does not answer."""
    for check in (
        check_hot_retention,
        check_shorter_retention,
        check_lateness,
        check_disk,
        check_object_lock,
        check_expiry,
        check_archive_is_current,
        check_gate,
    ):
        name = check.__name__.removeprefix("check_").replace("_", " ")
        try:
            ok, text = check(archive)
        except (ArchiveError, EngineError) as error:
            ok, text = False, str(error)
        yield Finding(name, ok, text)


def check_hot_retention(archive: Archive) -> tuple[bool, str]:
    """The engine keeps hot_days plus the margin."""
    retention = archive.settings.retention
    expected = retention.engine_days(archived=True)
    days = archive.engine.retention().days
    if days != expected:
        return False, _differs(
            "the engine's retention", counted(expected, "day"), counted(days, "day"), RENEW
        )
    return True, (
        f"the engine keeps {counted(days, 'day')}; the archiver deletes verified days after "
        f"{retention.hot_days}"
    )


def check_shorter_retention(archive: Archive) -> tuple[bool, str]:
    """What is deleted before its day, and whether the engine allows that."""
    kinds = archive.settings.retention.shorter
    if not kinds:
        return True, "every record stays as long as its day"
    if not archive.engine.supports_delete():
        return False, _differs("-delete.enable", "true", "false", RENEW)
    rules = ", ".join(f"{kind.name} after {counted(kind.days, 'day')}" for kind in kinds)
    days = len(early_expiry.shortened_days(archive))
    return True, f"once verified, deleted in the engine: {rules}; so far on {counted(days, 'day')}"


def check_lateness(archive: Archive) -> tuple[bool, str]:
    """The engine refuses records that are too old for their hour to be archived again."""
    expected, actual = archive.lateness, archive.engine.lateness()
    if KINDS[archive.engine.name].takes_any_age:  # where it refuses some, no run would notice
        return True, "the engine accepts records of its whole retention; each run checks all of it"
    if actual is not None and actual - expected < HOUR:
        return True, f"the engine refuses records older than {archive.settings.archive.lateness}"
    return False, _differs("the age of records that the engine refuses", expected, actual, RENEW)


def check_disk(archive: Archive) -> tuple[bool, str]:
    """The disk usage of the records is below limits.hot_disk."""
    limit = parse_bytes(archive.settings.limits.hot_disk)
    used = archive.engine.disk_bytes()
    if not limit:
        return True, f"the records use {format_bytes(used)}; limits.hot_disk is not set"
    text = f"the records use {format_bytes(used)} of {archive.settings.limits.hot_disk}"
    return used <= limit, text


def check_object_lock(archive: Archive) -> tuple[bool, str]:
    """The bucket locks new objects as the settings say."""
    values = archive.settings.archive
    expected = (values.lock, 0 if values.lock == "none" else values.days)
    if not archive.store.access.admin:
        return True, NO_ADMIN
    actual = lock_of(archive.store, values.bucket)
    if actual == expected:
        return True, f"new objects are locked: {actual[0]}, {counted(actual[1], 'day')}"
    before, now = (f"{mode}, {counted(days, 'day')}" for mode, days in (expected, actual))
    return False, _differs("the lock of new objects", before, now, "./logstack archive run")


def check_expiry(archive: Archive) -> tuple[bool, str]:
    """The bucket deletes parts after archive.days, by its rule and by what is there."""
    expected = archive.settings.archive.days
    if not archive.store.access.admin:
        return True, NO_ADMIN
    days = expiry_of(archive.store, archive.settings.archive)
    if foreign := foreign_rules(archive.store, archive.settings.archive):
        return False, (
            f"the bucket has rules that are not of the archive: {'; '.join(foreign)}. "
            "Run: ./logstack archive repair"
        )
    grace = archive.lateness + EXPIRY_GRACE  # a late part is locked for as long as any other
    if late := [key for key in overdue(archive, grace) if not is_held(archive, key)]:
        return False, (
            f"parts of more than {expected} days ago are still stored, the first is {late[0]}. "
            "Run: ./logstack archive run"
        )
    if days == expected:
        return True, f"parts expire after {counted(days, 'day')}, manifests stay"
    actual = counted(days, "day") if days else "no rule"
    text = f"the expiry of parts: expected {counted(expected, 'day')}, got {actual}"
    return False, f"{text}. See docs/archive.md"


def _differs(what: str, expected: object, actual: object, command: str) -> str:
    return f"{what}: expected {expected}, got {actual}. Run: {command}"


def check_archive_is_current(archive: Archive) -> tuple[bool, str]:
    """The last complete hour is archived, apart from MISSED_RUNS.

    Where no hour is archived, the last finished run found none to archive, so that it counts. Where
    no run finished either, records wait since the first hour that has some.
    """
    complete = [hour.start + HOUR for hour in archive.ledger().hours.values() if hour.complete]
    values = archive.settings.archive
    allowed = MISSED_RUNS * parse_duration(values.interval) + parse_duration(values.settle) + HOUR
    if complete:
        since, text = max(complete), "archived up to {since}, {ago} ago"
    elif finished := archive.state().get("exported"):
        since = datetime.fromisoformat(finished)
        text = "no hour is archived yet, the last run was at {since}, {ago} ago"
    else:
        since = _first_hour(archive)
        text = "no run has finished yet, the first records are of {since}, {ago} ago"
    behind = archive.now() - since
    moment = f"{since:%Y-%m-%d %H:%M} UTC"
    if behind < timedelta(0):
        return False, (
            f"archived up to {moment}, which is {-behind / HOUR:.1f} h ahead: the clock of a run "
            "was ahead. Until then this check sees nothing; records of these hours are archived as "
            "late ones. Run: timedatectl"
        )
    return behind <= allowed, text.format(since=moment, ago=f"{behind / HOUR:.1f} h")


def _first_hour(archive: Archive) -> datetime:
    """The first hour that has records; the current one where there is none.

    An engine's `oldest` may be the start of a day, before its first record.
    """
    now, oldest = archive.now(), archive.engine.oldest()
    counts = archive.engine.hourly_counts(hour_of(oldest), now) if oldest else {}
    return min(counts, default=hour_of(now))


def check_gate(archive: Archive) -> tuple[bool, str]:
    """The engine is not about to delete a day that is not verified."""
    verified = expire.verified_days(archive)
    waiting = [day for day in archive.engine.days() if day_name(day) not in verified]
    names = {day_name(day) for day in waiting}
    late = [day for day in waiting if expire.is_final(archive, day)]
    at_risk = [
        day
        for day in late
        if expire.is_over(archive, day) or expire.forced(archive, day) - archive.now() < AHEAD
    ]
    if at_risk:
        first = min(at_risk)
        command = "./logstack archive verify --deep" if archive.store.can_read else WITH_READER
        return False, (
            f"not verified: {counted(len(at_risk), 'day')} from {first:%Y-%m-%d} on; the engine "
            f"deletes that day on {expire.forced(archive, first):%Y-%m-%d %H:%M} UTC. "
            f"Run: {command}"
        )
    if failed := {day: item for day, item in expire.failed_days(archive).items() if day in names}:
        oldest, item = min(failed.items())
        return False, (
            f"{counted(len(failed), 'day')} cannot be verified, {oldest} since {item['since']}: "
            f"{item['problems'][0]}. Run: ./logstack archive verify --deep"
        )
    text = (
        f"{counted(len(verified), 'day')} verified, {len(waiting)} younger or waiting, none at risk"
    )
    return True, text
