"""Excludes erased records: what a tombstone names is neither archived nor restored again."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from stack.archive.engines import reader_of
from stack.archive.format import lines
from stack.archive.format.manifest import Erasure, canonical
from stack.engines import Record

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
    """The records of an engine that tombstones name. `streams` counts what `filter` excluded."""

    def __init__(self, key: Ed25519PrivateKey, engine: str, erasures: Iterable[Erasure]) -> None:
        self._record_of = reader_of(engine)
        self.digests: dict[str, set[str]] = {}
        for erasure in erasures:
            self.digests.setdefault(erasure.field, set()).add(erasure.match_hmac)
        self.streams: dict[str, int] = {}
        self._names = lru_cache(MOST_KNOWN)(
            lambda field, value: match_hmac(key, field, value) in self.digests[field]
        )

    def excludes(self, record: Record) -> bool:
        """Whether a tombstone names the record."""
        found = ((field, text_in(record, field)) for field in self.digests)
        return any(text is not None and self._names(field, text) for field, text in found)

    def filter(self, stored: Iterable[bytes]) -> Iterator[bytes]:
        """The lines that no tombstone names."""
        if not self.digests:
            yield from stored
            return
        for line in stored:
            if self.excludes(self._record_of(line)):
                lines.count(line, self.streams)
            else:
                yield line
