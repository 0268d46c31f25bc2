"""Parts that the bucket's lifecycle rule has removed, because archive.days were over.

Their manifests stay, so that commands meet such hours again and again. When exactly a part goes is
the store's own affair: one that is old enough and still there is used like any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from stack.archive.context import Archive
from stack.archive.storage.ledger import READERS, HourState


@dataclass(frozen=True)
class Expired:
    """The keys of parts that have expired, and of how many hours they are."""

    parts: frozenset[str] = frozenset()
    hours: int = 0


def may_have_expired(archive: Archive, hour: HourState) -> bool:
    """Whether the object store was free to let the hour go."""
    return hour.until < archive.now() - timedelta(days=archive.settings.archive.days)


def find_expired(archive: Archive, hours: Iterable[HourState]) -> Expired:
    """The parts that are old enough to have expired and that the store no longer has.

    Only parts that old are asked for. Raises StoreError where the store says neither yes nor no.
    """
    old = [
        (hour.start, key) for hour in hours if may_have_expired(archive, hour) for key in hour.parts
    ]
    if not old:
        return Expired()
    _ = archive.store.reader  # made here: boto3 clients are made by one thread and used by many
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(archive.store.has, [key for _, key in old])
        gone = [part for part, there in zip(old, found, strict=True) if not there]
    return Expired(frozenset(key for _, key in gone), len({start for start, _ in gone}))


def describe(archive: Archive, hours: int) -> str:
    """The sentence for people about so many hours of a range that have expired."""
    which = "1 hour of this range has" if hours == 1 else f"{hours} hours of this range have"
    days = archive.settings.archive.days
    return f"{which} expired: the archive keeps records for {days} days (archive.days)."
