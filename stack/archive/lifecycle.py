"""Parts that the bucket's lifecycle rule has deleted after archive.days.

Their manifests stay, so that every command handles such hours. The store decides when exactly a
part is deleted: one that is old enough and still there is used like any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from stack.archive.context import Archive
from stack.archive.format.layout import HOUR, hour_of_part
from stack.archive.format.manifest import Part
from stack.archive.storage.bucket import parts_prefix
from stack.archive.storage.documents import READERS
from stack.archive.storage.ledger import HourState
from stack.archive.storage.store import LockedError
from stack.common.counted import counted


@dataclass(frozen=True)
class Expired:
    """The keys of expired parts, and how many hours they belong to."""

    parts: frozenset[str] = frozenset()
    hours: int = 0

    def remaining(self, hour: HourState) -> list[Part]:
        """The parts of an hour that have not expired."""
        return [part for key, part in hour.parts.items() if key not in self.parts]


def may_have_expired(archive: Archive, hour: HourState) -> bool:
    """Whether the object store may have deleted the hour's parts."""
    return hour.until < archive.now() - timedelta(days=archive.settings.archive.days)


def find_expired(archive: Archive, hours: Iterable[HourState]) -> Expired:
    """The parts that are old enough to have expired and no longer in the store.

    The store is asked for these alone. Raises StoreError where it does not answer.
    """
    old = [
        (hour.start, key) for hour in hours if may_have_expired(archive, hour) for key in hour.parts
    ]
    if not old:
        return Expired()
    _ = archive.store.reader  # created before the threads share it
    with ThreadPoolExecutor(READERS) as pool:
        stored = pool.map(archive.store.has, [key for _, key in old])
        gone = [part for part, exists in zip(old, stored, strict=True) if not exists]
    return Expired(frozenset(key for _, key in gone), len({start for start, _ in gone}))


def is_held(archive: Archive, key: str) -> bool:
    """Whether a version of a part is under a legal hold; False where no admin's key is set."""
    store = archive.store
    if not store.access.admin:
        return False
    return any(store.lock(key, version).legal_hold for version in store.versions_of(key))


def overdue(archive: Archive, grace: timedelta = timedelta(0)) -> list[str]:
    """The first stored parts whose hour ended more than archive.days and `grace` ago, in order."""
    before = archive.now() - timedelta(days=archive.settings.archive.days) - grace
    found = []
    for key in archive.store.first(parts_prefix(archive.settings.archive)):
        hour = hour_of_part(key)
        if hour is not None and hour + HOUR > before:
            break  # keys are in the order of their hours
        if hour is not None:
            found.append(key)
    return found


def remove_overdue(archive: Archive) -> int:
    """Delete expired parts from the local store, which carries out no lifecycle rules; how many.

    Other stores do it themselves. Parts under a lock or a legal hold stay. Needs the admin's key.
    """
    store = archive.store
    if archive.settings.archive.endpoint or not (store.access.admin and store.can_read):
        return 0
    removed = 0
    while keys := overdue(archive):
        before = removed
        for key in keys:
            with suppress(LockedError):
                for version in store.versions_of(key):
                    store.delete(key, version, bypass=False)
                removed += 1
        if removed == before:
            break
    return removed


def describe(archive: Archive, hours: int) -> str:
    """The sentence to print about expired hours of a range."""
    which = counted(hours, "hour of this range has", "hours of this range have")
    days = archive.settings.archive.days
    return f"{which} expired: the archive keeps records for {counted(days, 'day')} (archive.days)."
