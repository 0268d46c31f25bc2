"""The interface of log engines, which is all that the rest of the stack uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from stack.records.contract import Value

Record = dict[str, Value]
"""The contract's fields, typed and in its order, then other fields as text."""


class EngineError(Exception):
    """An engine refused a request or did not answer; the text says which request and why."""


@dataclass(frozen=True)
class Selection:
    """Which records: a time range [since, until), exact values, a lowest level, a pattern.

    `matches` maps fields to their exact text, `grep` is an RE2 regular expression that the message,
    the exception's message or the stack trace contains.
    """

    since: datetime
    until: datetime
    level: str = ""
    grep: str = ""
    matches: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """What every log engine does. Every method raises EngineError."""

    def push(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Store records in the contract's form; returns when the engine has accepted them."""

    def records(self, selection: Selection, *, limit: int) -> Iterator[Record]:
        """The newest `limit` records that match, oldest first."""

    def count(self, selection: Selection) -> int:
        """How many records match."""

    def query(self, text: str, selection: Selection, *, limit: int) -> Iterator[dict[str, str]]:
        """Rows of a query in the engine's language; of the selection only the times are used."""
