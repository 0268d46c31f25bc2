"""Push requests of Loki, and blocks of Snappy."""

from __future__ import annotations

import pytest

from stack.engines.loki import Entry
from stack.engines.loki_push import parse_push, unpack


def literal(data: bytes) -> bytes:
    """A block with nothing to copy."""
    size = len(data)
    head = bytes([size & 0x7F | 0x80, size >> 7]) if size > 0x7F else bytes([size])
    tag = bytes([60 << 2, size - 1]) if size > 60 else bytes([size - 1 << 2])
    return head + tag + data


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (literal(b"abc"), b"abc"),
        (literal(b"x" * 200), b"x" * 200),
        (b"\x0c" + b"\x0cabcd" + b"\x11\x04", b"abcdabcdabcd"),  # 8 bytes from 4 before: overlaps
        (b"\x08" + b"\x0cabcd" + b"\x0e\x04\x00", b"abcdabcd"),
        (b"\x08" + b"\x0cabcd" + b"\x0f\x04\x00\x00\x00", b"abcdabcd"),
    ],
)
def test_a_block_is_unpacked(block: bytes, text: bytes) -> None:
    assert unpack(block) == text


@pytest.mark.parametrize("block", [b"\x04\x0cabcd\x11\x09", b"\x05\x0cabcd", b""])
def test_a_damaged_block_is_refused(block: bytes) -> None:
    with pytest.raises(ValueError, match="expected"):
        unpack(block)


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def test_entries_have_labels_times_lines_and_metadata() -> None:
    time = b"\x08\x05\x10\x07"  # 5 s and 7 ns
    metadata = field(3, field(1, b"format") + field(2, b"text"))
    entry = field(2, field(1, time) + field(2, "Grüße".encode()) + metadata)
    stream = field(1, field(1, b'{host="a\\"b", level="INFO"}') + entry)
    assert list(parse_push(literal(stream))) == [
        Entry(5_000_000_007, "Grüße", {"host": 'a"b', "level": "INFO"}, {"format": "text"})
    ]
