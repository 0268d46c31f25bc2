"""Parts that no manifest names: they count for nothing, and hold records all the same.

They are left by a run that was killed and whose hour then got other records, by the slower one of
two exporters, and by an exporter that cannot read and stores a part again under the next number.
"""

from __future__ import annotations

import re
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

# For so long an unsealed part may be one that an exporter of another machine is about to seal. It
# seals hour by hour: one that needs longer than an hour for an hour never catches up.
UNDER_WAY = timedelta(hours=6)
PART = re.compile(r"/part-\d+-[0-9a-f]{12}\.ndjson\.zst$")
EVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass
class Unsealed:
    """Unsealed parts that hold records which are looked for.

    `young` ones may be of an exporter under way, `old` ones are of nobody. Whether those `unread`
    hold such records is not known: the store lists them and does not have them.
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


def holding(
    archive: Archive,
    ledger: Ledger,
    name: str,
    value: str,
    *,
    on_progress: OnProgress = no_progress,
) -> Unsealed:
    """The unsealed parts that hold records whose field `name` is `value`. Raises ArchiveError.

    Nothing says which engine their lines are of: they are read as those of each.
    """
    matcher = Matcher(Selection(since=EPOCH, until=EVER, matches={name: value}))
    named = ledger.named_keys
    found = Unsealed()
    for item in archive.store.listing(parts_prefix(archive.settings.archive)):
        if item.key in named or not PART.search(item.key):
            continue
        on_progress("unsealed parts", f"searching {item.key}")
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
            matcher.takes(line, record_of) for line in candidates for record_of in READERS.values()
        )
    except StoreError:
        raise
    except (ArchiveError, ValueError) as error:
        raise ArchiveError(f"{key}: no manifest names it, and {error}. Delete it") from None
