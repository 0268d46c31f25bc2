"""Reads a push request of Loki, as Promtail sends it: protobuf in a block of Snappy."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stack.engines.loki import Entry

LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
SECOND = 1_000_000_000


def parse_push(body: bytes) -> Iterator[Entry]:
    """The entries of a logproto.PushRequest. Raises ValueError."""
    for _, stream in _fields(unpack(body)):
        fields = list(_fields(stream))
        labels = _labels(b"".join(content for number, content in fields if number == 1))
        for number, content in fields:
            if number == 2:
                yield _entry(content, labels)


def _entry(content: bytes, labels: dict[str, str]) -> Entry:
    time, line, metadata = 0, "", {}
    for number, part in _fields(content):
        if number == 1:
            seconds, rest = (_numbers(part).get(field, 0) for field in (1, 2))
            time = seconds * SECOND + rest
        elif number == 2:
            line = part.decode("utf-8", "replace")
        elif number == 3:
            pair = {field: text.decode("utf-8", "replace") for field, text in _fields(part)}
            metadata[pair.get(1, "")] = pair.get(2, "")
    return Entry(time, line, labels, metadata)


def _labels(text: bytes) -> dict[str, str]:
    """`{a="b", c="d"}`, in Go's notation of text."""
    found = LABEL.findall(text.decode("utf-8", "replace"))
    return {name: re.sub(r"\\(.)", r"\1", value) for name, value in found}


def unpack(block: bytes) -> bytes:
    """A block of Snappy without its compression: literals, and copies of what came before."""
    size, position = _varint(block, 0)
    out = bytearray()
    while position < len(block):
        tag = block[position]
        kind, length = tag & 3, tag >> 2
        position += 1
        if kind == 0:
            if length >= 60:
                width = length - 59
                length = int.from_bytes(block[position : position + width], "little")
                position += width
            out += block[position : position + length + 1]
            position += length + 1
            continue
        width = {1: 1, 2: 2, 3: 4}[kind]
        offset = int.from_bytes(block[position : position + width], "little")
        position += width
        if kind == 1:
            offset |= tag >> 5 << 8
            length = (length & 7) + 3
        if not 0 < offset <= len(out):
            raise ValueError("expected a block of Snappy, got a copy from before its start")
        for _ in range(length + 1):
            out.append(out[-offset])
    if len(out) != size:
        raise ValueError(f"expected {size} bytes in a block of Snappy, got {len(out)}")
    return bytes(out)


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Fields with a length: their numbers and contents. Others are skipped."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        value, position = _varint(message, position)
        if tag & 7 == 2:
            yield tag >> 3, message[position : position + value]
            position += value


def _numbers(message: bytes) -> dict[int, int]:
    """Fields that are numbers."""
    found, position = {}, 0
    while position < len(message):
        tag, position = _varint(message, position)
        found[tag >> 3], position = _varint(message, position)
    return found


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("expected a whole number in protobuf, got a part")
