"""What an engine must provide in addition to `Engine` to be archived and restored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from stack.settings.tables import ShorterRetention

HourlyCounts = dict[datetime, dict[str, int]]
"""By the start of the hour, then by the labels as JSON (lines.stream_key): how many records."""


class Archivable(Protocol):
    """Every method raises EngineError. Lines are those of stack/archive/format/lines.py."""

    name: str
    counts_are_cheap: bool
    """Whether a week can be counted every hour."""

    @property
    def version(self) -> str:
        """The engine's version, cached."""

    def retention(self) -> timedelta:
        """How long the running engine keeps records, as it reports."""

    def lateness(self) -> timedelta | None:
        """How old a record may be when it arrives; None when there is no limit."""

    def oldest(self) -> datetime | None:
        """The time of the oldest record; None when there is none."""

    def hourly_counts(self, since: datetime, until: datetime) -> HourlyCounts:
        """How many records of [since, until) each hour and stream has."""

    def export(self, since: datetime, until: datetime) -> Iterator[bytes]:
        """Every record of [since, until) as a line, unsorted."""

    def insert(self, lines: Iterable[bytes]) -> None:
        """Store the records of lines; returns when they can be counted."""

    def days(self) -> list[datetime]:
        """The days (UTC) that the engine may have records of, oldest first."""

    def days_within(self, since: datetime, until: datetime) -> list[datetime]:
        """The days that overlap [since, until) and have records."""

    def disk_bytes(self) -> int:
        """The disk usage of its records."""

    def drop_day(self, day: datetime) -> bool:
        """Delete all records of a day; False when there were none."""

    def count_of(self, day: datetime, kinds: Sequence[ShorterRetention]) -> int:
        """How many records of some kinds a day has."""

    def drop_records(self, day: datetime, kinds: Sequence[ShorterRetention]) -> bool:
        """Delete a day's records of some kinds; False when that is in progress."""

    def supports_delete(self) -> bool:
        """Whether the running engine allows `drop_records` and `erase`."""

    def erase(self, matches: Sequence[tuple[str, str]], until: datetime) -> str:
        """Delete the records of before `until` that have one of these fields; what is not done
        when it returns, or nothing."""

    def has_pending_deletions(self) -> bool:
        """Whether the disk space of deleted records is not free yet."""

    def prepare_restore(self, since: datetime, until: datetime) -> None:
        """Make queries show every record inserted before, as by a killed restore, and cancel
        deletions of days that overlap [since, until) which are not carried out yet."""
