"""Reads the time of each record in a batch of OTLP (protobuf), leaves records out, sets times.

Only what is on the way to a record's time is parsed; everything else is copied as it is.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

TIME, OBSERVED = 1, 11  # LogRecord.time_unix_nano and observed_time_unix_nano, each a fixed64
TIME_TAG, OBSERVED_TAG = b"\x09", b"\x59"
FIXED64, LENGTH, FIXED32 = 1, 2, 5
# An attribute of a record whose time the agent replaced. The collector writes fields backwards, so
# that an attribute's name is followed by the next attribute, and its value by the name.
NAME = b"\x0a\x12timestamp_original"
REPLACED = re.compile(NAME + rb"(?!\x0a)")


class Stamp(NamedTuple):
    """When a record was made, 0 if it does not say, and when the agent read (the first line of) it.

    `replaced`: the agent found its time too far from any other to use it.
    """

    time: int
    observed: int
    replaced: bool


Decide = Callable[[Stamp], int | None]
"""Returns the time that a record is to have, or None to leave it out."""


def sift(batch: bytes, decide: Decide) -> bytes:
    """An ExportLogsServiceRequest with the records that `decide` lets in, empty if there is none.

    Raises ValueError for one that cannot be parsed.
    """

    def resource(content: bytes) -> bytes:
        return _inside(content, 2, lambda scope: _scope(scope, decide))

    return _inside(batch, 1, resource)


def stamps(batch: bytes) -> list[Stamp]:
    """Those of each record."""
    found: list[Stamp] = []

    def note(stamp: Stamp) -> int:
        found.append(stamp)
        return stamp.time

    sift(batch, note)
    return found


def _scope(scope: bytes, decide: Decide) -> bytes:
    """A ScopeLogs whose records are decided on."""

    def record(content: bytes) -> bytes:
        stamp = _stamp(content)
        new = decide(stamp)
        if new is None:
            return b""
        # The last value of a field counts.
        return content if new == stamp.time else content + TIME_TAG + struct.pack("<Q", new)

    return _inside(scope, 2, record)


def _inside(message: bytes, number: int, change: Callable[[bytes], bytes]) -> bytes:
    """A message with each field `number` changed; empty if none of these is left."""
    parts: list[bytes] = []
    changed = False
    for field, start, content, end in _fields(message):
        if field != number:
            parts.append(message[start:end])
            continue
        if new := change(message[content:end]):
            parts += [_varint(number << 3 | LENGTH), _varint(len(new)), new]
            changed = True
    return b"".join(parts) if changed else b""


def _stamp(record: bytes) -> Stamp:
    replaced = NAME in record and REPLACED.search(record) is not None
    last, before = record[-9:-8], record[-18:-17]
    if last == TIME_TAG and before == OBSERVED_TAG:
        observed, _, time = struct.unpack_from("<QBQ", record, len(record) - 17)
        return Stamp(time, observed, replaced)
    if last == OBSERVED_TAG:
        return Stamp(0, struct.unpack_from("<Q", record, len(record) - 8)[0], replaced)
    found = {
        field: struct.unpack_from("<Q", record, content)[0]
        for field, _, content, _ in _fields(record)
        if field in (TIME, OBSERVED)
    }
    return Stamp(found.get(TIME, 0), found.get(OBSERVED, 0), replaced)


def _fields(message: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Each field: its number, where it starts, where its content starts and ends."""
    position, size = 0, len(message)
    while position < size:
        start = position
        tag, position = _read_varint(message, position)
        content = position
        kind = tag & 7
        if kind == 0:
            _, position = _read_varint(message, position)
        elif kind == FIXED64:
            position += 8
        elif kind == LENGTH:
            length, content = _read_varint(message, position)
            position = content + length
        elif kind == FIXED32:
            position += 4
        else:
            raise ValueError(f"expected a field of protobuf, got wire type {kind}")
        if position > size:
            raise ValueError("expected a whole message of protobuf, got a part")
        yield tag >> 3, start, content, position


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("expected a whole message of protobuf, got a part")


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
