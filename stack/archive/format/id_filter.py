"""A Bloom filter of the request and trace ids of a part, which lets a search skip parts. Pure.

A search for an id reads the parts whose filter may contain it, with about one percent of false
positives. A part with more ids than MOST_IDS has no filter: it would be too large to save time.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator

FIELDS = ("request_id", "trace_id")
MOST_IDS = 20_000
BITS_AN_ID = 10
HASHES = 7
# An id in the metadata, and in a line of JSON, which is a JSON string in the part.
_FOUND = re.compile(rb'(?:request_id|trace_id)\\?"\s*:\s*\\?"?([^"\\,}\s]+)')
# Values that `_FOUND` matches whole; others are searched without the filter.
_WHOLE = re.compile(r"[A-Za-z0-9_.:-]+")


def ids_in(raw: bytes) -> set[bytes]:
    """The ids in lines of the archive."""
    return set(_FOUND.findall(raw))


def build(ids: Iterable[bytes]) -> str:
    """The filter as base64."""
    held = set(ids)
    size = max(8, len(held) * BITS_AN_ID // 8)
    bits = bytearray(size)
    for value in held:
        for position in _positions(value, size * 8):
            bits[position // 8] |= 1 << position % 8
    return base64.b64encode(bits).decode()


def may_hold(text: str, field: str, value: str) -> bool:
    """Whether a part with this filter may contain a record whose `field` is `value`."""
    if not text or field not in FIELDS or not _WHOLE.fullmatch(value):
        return True
    bits = base64.b64decode(text)
    return all(bits[p // 8] >> p % 8 & 1 for p in _positions(value.encode(), len(bits) * 8))


def _positions(value: bytes, size: int) -> Iterator[int]:
    digest = hashlib.blake2b(value, digest_size=16).digest()
    first, step = int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big") | 1
    return ((first + n * step) % size for n in range(HASHES))
