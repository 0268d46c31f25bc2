"""What an engine must do beyond `Engine` for its records to be archived and restored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from stack.engines import Record
from stack.settings.tables import ShorterRetention

HourlyCounts = dict[datetime, dict[str, int]]
"""By the start of the hour, then by the labels as JSON (lines.stream_key): how many records."""


class Archivable(Protocol):
    """Every method raises EngineError. Lines are those of stack/archive/format/lines.py."""

    name: str
    counts_are_cheap: bool
    """Whether counting a week every hour does no harm."""

    def version(self) -> str:
        """The engine's version; asked for once."""

    def retention(self) -> timedelta:
        """How long the running engine keeps records, as it says itself."""

    def lateness(self) -> timedelta | None:
        """How old a record may be when it arrives; None when there is no limit."""

    def oldest(self) -> datetime | None:
        """The time of the oldest record; None when there is none."""

    def hourly_counts(self, since: datetime, until: datetime) -> HourlyCounts:
        """How many records of [since, until) each hour and stream has."""

    def export(self, since: datetime, until: datetime) -> Iterator[bytes]:
        """Every record of [since, until) as a line, in no order."""

    def insert(self, lines: Iterable[bytes]) -> None:
        """Store lines as the records that they were; returns when they can be counted."""

    def record(self, line: bytes) -> Record:
        """The typed record of a line that this engine made."""

    def days(self) -> list[datetime]:
        """The days (UTC) that the engine may have records of, oldest first."""

    def days_within(self, since: datetime, until: datetime) -> list[datetime]:
        """The days that overlap [since, until) and have records."""

    def disk_bytes(self) -> int:
        """What its records take on disk."""

    def drop_day(self, day: datetime) -> bool:
        """Forget all records of a day for good; False when there were none."""

    def count_of(self, day: datetime, kinds: Sequence[ShorterRetention]) -> int:
        """How many records of some kinds a day has."""

    def drop_records(self, day: datetime, kinds: Sequence[ShorterRetention]) -> bool:
        """Forget a day's records of some kinds for good; False when that is under way already."""

    def drops_records(self) -> bool:
        """Whether the running engine can do that."""

    def is_freeing(self) -> bool:
        """Whether days were dropped whose room on the disk is not free yet."""

    def keep(self, since: datetime, until: datetime) -> None:
        """Take back the dropping of days that overlap [since, until), as far as it can be."""
