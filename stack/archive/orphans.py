"""Orphaned parts, which no manifest names: they are not part of the archive, but hold records.

They are left by a killed run whose hour then got other records, by the slower one of two exporters,
and by an exporter that cannot read and stores a part again under the next number.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from stack.archive import ArchiveError
from stack.archive.context import Archive, OnProgress, no_progress
from stack.archive.engines import READERS
from stack.archive.search import Matcher
from stack.archive.storage.bucket import parts_prefix
from stack.archive.storage.ledger import Ledger
from stack.archive.storage.parts import decompress
from stack.archive.storage.store import Listed, MissingError, StoreError
from stack.engines import Selection
from stack.records.timestamps import EPOCH

# How long an exporter on another machine may still be about to seal an orphaned part. It seals hour
# by hour: one that needs longer than an hour for an hour never catches up.
UNDER_WAY = timedelta(hours=6)
PART = re.compile(r"/part-\d+-[0-9a-f]{12}\.ndjson\.zst$")
EVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass
class Orphans:
    """Orphaned parts that hold records to erase.

    `young` ones may belong to a running exporter, `old` ones do not. Whether the `unread` ones hold
    such records is not known: the store lists them but does not have them.
    """

    old: list[str] = field(default_factory=list)
    young: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    old_from: datetime = EPOCH

    def add(self, item: Listed, now: datetime) -> None:
        if item.modified + UNDER_WAY <= now:
            self.old.append(item.key)
            return
        self.young.append(item.key)
        self.old_from = max(self.old_from, item.modified + UNDER_WAY)


def find_orphans(
    archive: Archive,
    ledger: Ledger,
    matches: Collection[tuple[str, str]],
    *,
    on_progress: OnProgress = no_progress,
) -> Orphans:
    """The orphaned parts that hold records with one of `matches`. Raises ArchiveError.

    The engine of their lines is unknown: they are read as lines of every engine.
    """
    matcher = Matcher(Selection(since=EPOCH, until=EVER), matches)
    named = ledger.named_keys
    found = Orphans()
    for item in archive.store.listing(parts_prefix(archive.settings.archive)):
        if item.key in named or not PART.search(item.key):
            continue
        on_progress("orphaned parts", f"searching {item.key}")
        try:
            if _holds(archive, item.key, matcher):
                found.add(item, archive.now())
        except MissingError:
            found.unread.append(item.key)
    return found


def _holds(archive: Archive, key: str, matcher: Matcher) -> bool:
    try:
        candidates = matcher.candidates(decompress(archive.store.chunks(key)))
        return any(
            matcher.matches(line, record_of)
            for line in candidates
            for record_of in READERS.values()
        )
    except StoreError:
        raise
    except (ArchiveError, ValueError) as error:
        raise ArchiveError(
            f"cannot search {key}: {error}. No manifest names it: delete it"
        ) from None
