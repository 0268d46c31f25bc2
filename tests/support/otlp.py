"""A batch of records as OTLP has it, made by hand: also such as no collector would send."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence

Fields = Sequence[tuple[str, str]]
"""Names and values in their order; a name may come more than once."""


def otlp_batch(resource: Fields, message: str, *attributes: Fields) -> bytes:
    """An ExportLogsServiceRequest (opentelemetry-proto 1.x) with a record for each `attributes`."""
    records = b"".join(_field(2, _record(message, item)) for item in attributes)
    return _field(1, _field(1, _attributes(1, resource)) + _field(2, records))


def _record(message: str, attributes: Fields) -> bytes:
    instant = _varint(1 << 3 | 1) + struct.pack("<Q", time.time_ns())
    return instant + _field(5, _string(message)) + _attributes(6, attributes)


def _attributes(number: int, fields: Fields) -> bytes:
    pairs = (_field(1, name.encode()) + _field(2, _string(value)) for name, value in fields)
    return b"".join(_field(number, pair) for pair in pairs)


def _string(value: str) -> bytes:
    return _field(1, value.encode())


def _field(number: int, content: bytes) -> bytes:
    """A field whose content has a length."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
