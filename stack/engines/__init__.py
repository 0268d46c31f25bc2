"""Log engines behind one small interface, which is all that the rest uses of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from stack.records.contract import Value

Record = dict[str, Value]
"""The contract's fields, typed and in its order, then other fields as text."""


class EngineError(Exception):
    """The engine did not answer as wanted; the text says what was asked and what came back."""


@dataclass(frozen=True)
class Selection:
    """Which records: a time range [since, until), exact values, a lowest level, a pattern.

    `matches` maps fields to the exact text wanted, `grep` is an RE2 regular expression looked for
    in the message, the exception's message and the stack trace.
    """

    since: datetime
    until: datetime
    level: str = ""
    grep: str = ""
    matches: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """What every log engine can do. Every method raises EngineError."""

    def ready(self) -> bool:
        """Whether it answers; never raises."""

    def push(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Store records given in the contract's form; returns when they are accepted."""

    def records(self, selection: Selection, *, limit: int) -> Iterator[Record]:
        """The newest `limit` records that match, oldest first."""

    def count(self, selection: Selection) -> int:
        """How many records match."""

    def query(self, text: str, selection: Selection, *, limit: int) -> Iterator[dict[str, str]]:
        """Rows of a query in the engine's own language; only the selection's times are used."""
