"""Excludes erased records: what a tombstone names is neither archived nor restored again."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from math import inf

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from stack.archive.engines import reader_of
from stack.archive.format import lines
from stack.archive.format.manifest import canonical
from stack.archive.storage.ledger import Tombstone
from stack.engines import Record
from stack.records.timestamps import nanoseconds

MOST_KNOWN = 20_000  # cached values; each record may have another one


def text_in(record: Record, field: str) -> str | None:
    """A field's value as it is typed on the command line; objects and lists as JSON.

    A dotted name is also a path: an object that is not of the contract is stored as JSON text.
    """
    value = _value_at(record, field)
    if isinstance(value, dict | list):
        return canonical(value).decode("utf-8", "surrogateescape")
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def _value_at(value: object, path: str) -> object:
    """The value at a path; names may have dots themselves. None where there is none."""
    if isinstance(value, str) and value.startswith("{"):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if not isinstance(value, Mapping):
        return None
    if path in value:
        return value[path]
    splits = (path[:at] for at, character in enumerate(path) if character == ".")
    found = (_value_at(value[name], path[len(name) + 1 :]) for name in splits if name in value)
    return next((item for item in found if item is not None), None)


def match_hmac(key: Ed25519PrivateKey, field: str, value: str) -> str:
    """The keyed hash of a value in a tombstone; without the archive's key it cannot be guessed."""
    derived = HKDF(SHA256(), 32, None, b"logstack tombstone").derive(key.private_bytes_raw())
    return hmac.new(derived, f"{field}\0{value}".encode(), hashlib.sha256).hexdigest()


class Suppression:
    """The records of an engine that tombstones name. `streams` counts what `filter` excluded.

    A tombstone excludes records from before its erasure, unless it was asked to exclude all.
    """

    def __init__(
        self, key: Ed25519PrivateKey, engine: str, tombstones: Iterable[Tombstone]
    ) -> None:
        self._record_of = reader_of(engine)
        self.ends: dict[str, dict[str, float]] = {}
        for item in tombstones:
            until = nanoseconds(item.until) if item.until else inf
            for match in item.erasure.matches:
                ends = self.ends.setdefault(match.field, {})
                ends[match.match_hmac] = max(until, ends.get(match.match_hmac, until))
        self.streams: dict[str, int] = {}
        self._end_of = lru_cache(MOST_KNOWN)(
            lambda field, value: self.ends[field].get(match_hmac(key, field, value), -inf)
        )

    def excludes(self, line: bytes, record: Record) -> bool:
        """Whether a tombstone names the record of a line."""
        moment = lines.timestamp(line)
        found = ((field, text_in(record, field)) for field in self.ends)
        return any(text is not None and moment < self._end_of(field, text) for field, text in found)

    def filter(self, stored: Iterable[bytes]) -> Iterator[bytes]:
        """The lines that no tombstone names."""
        if not self.ends:
            yield from stored
            return
        for line in stored:
            if self.excludes(line, self._record_of(line)):
                lines.count(line, self.streams)
            else:
                yield line
