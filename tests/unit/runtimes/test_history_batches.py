"""Times of records in a batch of OTLP: read, set, and records left out."""

from __future__ import annotations

import time

from stack.runtimes.history.batches import Stamp, sift, stamps
from tests.support.otlp import otlp_batch

NOW = time.time_ns()
RESOURCE = (("host", "h"), ("service.name", "s"))
BATCH = otlp_batch(
    RESOURCE,
    "said",
    (("number", "1"),),
    (("number", "2"), ("text", "x" * 300)),
    (("timestamp_original", "1600-01-01T00:00:00Z"),),
)


def backwards(*fields: tuple[int, bytes]) -> bytes:
    """A message of the collector, which writes fields in this order, each with a length."""
    return b"".join(bytes([number << 3 | 2, len(text)]) + text for number, text in fields)


def from_collector(name: str, value: str, times: bytes) -> bytes:
    """A batch of one record with one attribute."""
    pair = backwards((2, backwards((1, value.encode()))), (1, name.encode()))
    record = backwards((6, pair), (5, b"\x0a\x01m")) + times
    return backwards((1, backwards((2, backwards((2, record))))))


def test_each_record_has_its_time_and_whether_the_agent_replaced_it() -> None:
    """Whatever the order of the fields."""
    found = stamps(BATCH)
    assert [item.replaced for item in found] == [False, False, True]
    assert all(abs(item.time - NOW) < 60 * 10**9 for item in found)


def test_a_value_that_is_the_name_of_the_agents_field_is_none() -> None:
    """The collector's own order: the value first."""
    times = b"\x59" + (5).to_bytes(8, "little") + b"\x09" + (3).to_bytes(8, "little")
    replaced = from_collector("timestamp_original", "1600-01-01T00:00:00Z", times)
    assert stamps(replaced) == [Stamp(3, 5, replaced=True)]
    quoted = from_collector("name", "timestamp_original", times)
    assert stamps(quoted) == [Stamp(3, 5, replaced=False)]
    untimed = from_collector("name", "value", times[:9])
    assert stamps(untimed) == [Stamp(0, 5, replaced=False)]


def test_a_batch_of_which_all_is_kept_is_unchanged() -> None:
    """Byte for byte, with its resource."""
    assert sift(BATCH, lambda stamp: stamp.time) == BATCH


def test_records_that_are_left_out_are_gone_and_others_as_they_were() -> None:
    """Nothing is left of a batch without records."""
    kept = sift(BATCH, lambda stamp: None if stamp.replaced else stamp.time)
    assert b"timestamp_original" not in kept
    assert len(stamps(kept)) == 2
    assert kept.startswith(BATCH[:1])
    assert b"service.name" in kept
    assert sift(BATCH, lambda stamp: None) == b""


def test_a_time_that_is_set_is_the_one_that_is_read() -> None:
    """Also in a record that has none; nothing else changes."""
    assert [item.time for item in stamps(sift(BATCH, lambda stamp: 42))] == [42] * 3
    untimed = sift(BATCH, lambda stamp: 0)
    assert [item.time for item in stamps(untimed)] == [0] * 3
    assert [item.time for item in stamps(sift(untimed, lambda stamp: 7))] == [7] * 3
