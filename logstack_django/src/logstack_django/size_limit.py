"""Reduces a record to its size limit by cutting the largest fields first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logstack_django.encoding import Encoder, encode_stdlib, escape_unseen
from logstack_django.fields import FIELD_ORDER, HEAD_FIELDS
from logstack_django.sanitize import CUT
from logstack_django.tracebacks import cut_middle

# Short fields that identify the record are never cut.
_KEPT = frozenset({"timestamp", "level", "service_name", "environment", "truncated"})
# Required fields and the cut mark may be cut, but are never removed.
_REQUIRED = frozenset({*HEAD_FIELDS, "truncated"})
_SMALLEST = 64


def cap_record(given: Mapping[str, Any], limit: int, encode: Encoder) -> bytes:
    """The line of the record, newline included, below `limit` bytes; sets `truncated`."""
    record = _mark_truncated(given)
    sizes = {
        name: _size(value)
        for name, value in record.items()
        if name not in _KEPT and not isinstance(value, bool | int | float)
    }
    for attempt in range(4):
        excess = _line_size(record) - limit + 1
        if excess <= 0:
            break
        # The estimate is exact but for escapes; each further attempt leaves more room.
        level = _water_level(sorted(sizes.values()), sum(sizes.values()) - excess - attempt * 256)
        for name, size in sizes.items():
            if size > level:
                record[name] = _cut(name, record[name], level)
                sizes[name] = _size(record[name])
    others = {name: len(name) + _size(record[name]) for name in record if name not in _REQUIRED}
    while len(line := _line(record, encode)) >= limit:
        # Those of the contract last.
        largest = max(others, key=lambda name: (name not in FIELD_ORDER, others[name]))
        del record[largest], others[largest]
    return line


def _line(record: Mapping[str, Any], encode: Encoder) -> bytes:
    return escape_unseen(encode(record) + b"\n")


# Measured with the standard encoder, so that both encoders cut at the same place: they format
# some floats with different lengths.
def _line_size(record: Mapping[str, Any]) -> int:
    return len(_line(record, encode_stdlib))


def _size(value: Any) -> int:
    return len(encode_stdlib(value))


def _mark_truncated(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with `truncated` at its place, before the fields that are not in the contract."""
    out = {name: record[name] for name in FIELD_ORDER if name in record}
    out["truncated"] = True
    for name, value in record.items():
        out.setdefault(name, value)
    return out


def _water_level(sizes: list[int], room: int) -> int:
    """The size to which all larger ones must be cut, so that the sum is at most `room`."""
    left = max(room, 0)
    for place, size in enumerate(sizes):
        level = left // (len(sizes) - place)
        if size > level:
            return max(level, _SMALLEST)
        left -= size
    return max(sizes, default=_SMALLEST)


def _cut(name: str, value: Any, size: int) -> str:
    """`value` as text whose JSON takes at most about `size` bytes."""
    text = value if isinstance(value, str) else encode_stdlib(value).decode()
    length = len(text)
    for _ in range(8):
        cut = cut_middle(text, length) if name == "stack_trace" else _cut_end(text, length)
        found = _size(cut)
        if found <= size:
            return cut
        length = max(8, min(length - 1, int(length * size / found) - 8))
    return CUT


def _cut_end(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    return text.removesuffix(CUT)[: max(0, length - len(CUT))] + CUT
