"""Asks the engine and the store whether what the settings say of the archive is so.

`logstack doctor` and the archiver of a host call it. Needs neither rules nor templates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from stack.archive import ArchiveError, expire
from stack.archive import early_expiry as shorter
from stack.archive.context import Archive
from stack.archive.format.layout import HOUR, hour_of
from stack.archive.storage.bucket import expiry_of, lock_of
from stack.archive.storage.store import WITH_READER
from stack.engines import EngineError
from stack.engines.kinds import KINDS
from stack.settings.units import format_bytes, parse_bytes, parse_duration

# How long before the engine deletes an unverified day the gate's check begins to fail.
AHEAD = timedelta(days=7)
# How many runs may be missing before the archive counts as behind.
MISSED_RUNS = 3


@dataclass(frozen=True)
class Finding:
    """One check: its name, whether all is well, and what was found or wanted."""

    check: str
    ok: bool
    text: str


def archive_findings(archive: Archive) -> Iterator[Finding]:
    """Every check. One that cannot be made because something does not answer has failed."""
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
        yield _guarded(name, check, archive)


def _guarded(name: str, check: Callable[[Archive], tuple[bool, str]], archive: Archive) -> Finding:
    try:
        ok, text = check(archive)
    except (ArchiveError, EngineError) as error:
        return Finding(name, False, str(error))
    return Finding(name, ok, text)


def check_hot_retention(archive: Archive) -> tuple[bool, str]:
    """The engine's flag is hot_days plus the margin."""
    retention = archive.settings.retention
    wanted = retention.engine_days(archived=True)
    found = archive.engine.retention().days
    text = f"the engine keeps {found} days, the archiver lets verified days go after "
    text += f"{retention.hot_days}"
    if found == wanted:
        return True, text
    return False, (
        f"wanted the engine to keep {wanted} days, found {found}. "
        "Type: make up, or on hosts make deploy"
    )


def check_shorter_retention(archive: Archive) -> tuple[bool, str]:
    """What leaves earlier than the rest, and whether the engine can let it go."""
    kinds = archive.settings.retention.shorter
    if not kinds:
        return True, "every record stays as long as its day"
    if not archive.engine.drops_records():
        return False, (
            "wanted the engine to run with -delete.enable, found it off. "
            "Type: make up, or on hosts make deploy"
        )
    rules = ", ".join(f"{kind.name} after {kind.days} days" for kind in kinds)
    days = len(shorter.shortened_days(archive))
    return True, f"{rules} leave the engine once verified, so far on {days} days"


def check_lateness(archive: Archive) -> tuple[bool, str]:
    """The engine refuses records that are too old for their hour to be archived again."""
    wanted, found = archive.lateness, archive.engine.lateness()
    if KINDS[archive.engine.name].takes_any_age:  # what it refuses, nothing would show
        return True, "the engine takes what it keeps; each run looks at every hour of that"
    if found is not None and found - wanted < HOUR:
        return True, f"the engine refuses records older than {archive.settings.archive.lateness}"
    return False, f"wanted the engine to refuse records older than {wanted}, found {found}"


def check_disk(archive: Archive) -> tuple[bool, str]:
    """What the records take of what they may take."""
    limit = parse_bytes(archive.settings.limits.hot_disk)
    used = archive.engine.disk_bytes()
    if not limit:
        return True, f"the records take {format_bytes(used)}; there is no limits.hot_disk"
    text = f"the records take {format_bytes(used)} of {archive.settings.limits.hot_disk}"
    return used <= limit, text


def check_object_lock(archive: Archive) -> tuple[bool, str]:
    """The bucket locks new objects as the settings say."""
    values = archive.settings.archive
    wanted = (values.lock, 0 if values.lock == "none" else values.days)
    if not archive.store.access.admin:
        return True, "not asked: only the admin's key can, and it is not here"
    found = lock_of(archive.store, values.bucket)
    if found == wanted:
        return True, f"new objects are locked: {found[0]}, {found[1]} days"
    return False, (
        f"wanted {wanted[0]}, {wanted[1]} days, found {found[0]}, {found[1]} days. "
        "Type: ./logstack archive run"
    )


def check_expiry(archive: Archive) -> tuple[bool, str]:
    """The bucket lets parts expire when the settings say, as it says itself."""
    wanted = archive.settings.archive.days
    if not archive.store.access.admin:
        return True, "not asked: only the admin's key can, and it is not here"
    found = expiry_of(archive.store, archive.settings.archive)
    if found == wanted:
        return True, f"parts expire after {found} days, manifests stay"
    text = f"found {found}" if found else "found no rule"
    return False, f"wanted parts to expire after {wanted} days, {text}. See docs/archive.md"


def check_archive_is_current(archive: Archive) -> tuple[bool, str]:
    """The last complete hour is archived, give or take some runs.

    Where none is, runs have found none to archive: what came since, however old it is, is the next
    run's. Where none has ended either, records wait from the first hour that has some.
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
        text = "no run has ended yet, the first records are of {since}, {ago} ago"
    behind = archive.now() - since
    moment = f"{since:%Y-%m-%d %H:%M} UTC"
    return behind <= allowed, text.format(since=moment, ago=f"{behind / HOUR:.1f} h")


def _first_hour(archive: Archive) -> datetime:
    """The first hour that has records; the one under way where there is none.

    What an engine calls the oldest is the start of a day: on its first day, nothing is behind yet.
    """
    now, oldest = archive.now(), archive.engine.oldest()
    counts = archive.engine.hourly_counts(hour_of(oldest), now) if oldest else {}
    return min(counts, default=hour_of(now))


def check_gate(archive: Archive) -> tuple[bool, str]:
    """No day is about to be deleted by the engine without being verified."""
    verified = expire.verified_days(archive)
    waiting = [day for day in archive.engine.days() if f"{day:%Y-%m-%d}" not in verified]
    late = [day for day in waiting if expire.is_final(archive, day)]
    over = [day for day in late if expire.forced(archive, day) - archive.now() < AHEAD]
    over += [day for day in late if expire.is_over(archive, day) and day not in over]
    if over:
        first = min(over)
        command = "./logstack archive verify --deep" if archive.store.can_read else WITH_READER
        return False, (
            f"{len(over)} days from {first:%Y-%m-%d} on are not verified; the engine deletes that "
            f"day on {expire.forced(archive, first):%Y-%m-%d %H:%M} UTC. "
            f"Type: {command}"
        )
    text = f"{len(verified)} days verified, {len(waiting)} younger or waiting, none in danger"
    return True, text
