"""Times of records in a batch of OTLP: read, set, and records left out."""

from __future__ import annotations

import time

from stack.runtimes.history.batches import Stamp, sift, stamps
from tests.support.otlp import otlp_batch

RESOURCE = (("host", "h"), ("service.name", "s"))
BATCH = otlp_batch(
    RESOURCE,
    "said",
    (("number", "1"),),
    (("number", "2"), ("text", "x" * 300)),
    (("timestamp_original", "1600-01-01T00:00:00Z"),),
    (("quoted", "timestamp_original"),),
)


def test_each_record_has_its_time_and_whether_the_agent_replaced_it() -> None:
    """A value that names the attribute is none."""
    found = stamps(BATCH)
    assert [item.replaced for item in found] == [False, False, True, False]
    assert all(abs(item.time - time.time_ns()) < 10**12 for item in found)


def test_a_batch_of_which_all_is_kept_is_unchanged() -> None:
    """Byte for byte, with its resource."""
    assert sift(BATCH, lambda stamp: stamp.time) == BATCH


def test_records_that_are_left_out_are_gone_and_others_as_they_were() -> None:
    """Nothing is left of a batch without records."""
    kept = sift(BATCH, lambda stamp: None if stamp.replaced else stamp.time)
    assert b"timestamp_original" in kept  # as a value
    assert b"1600-01-01" not in kept
    assert len(stamps(kept)) == 3
    assert kept.startswith(BATCH[:1])
    assert b"service.name" in kept
    assert sift(BATCH, lambda stamp: None) == b""


def test_a_time_that_is_set_is_the_one_that_is_read() -> None:
    """Also in a record that has none; nothing else changes."""
    assert [item.time for item in stamps(sift(BATCH, lambda stamp: 42))] == [42] * 4
    untimed = sift(BATCH, lambda stamp: 0)
    assert [item.time for item in stamps(untimed)] == [0] * 4
    assert [item.time for item in stamps(sift(untimed, lambda stamp: 7))] == [7] * 4


def test_the_agents_own_order_of_fields_is_read_too() -> None:
    """The time of reading is the last field of its records."""
    observed = b"\x59" + (5).to_bytes(8, "little")
    record = b"\x09" + (3).to_bytes(8, "little") + b"\x2a\x03\x0a\x01x" + observed
    scope = b"\x12" + bytes([len(record)]) + record
    resource = b"\x12" + bytes([len(scope)]) + scope
    batch = b"\x0a" + bytes([len(resource)]) + resource
    assert stamps(batch) == [Stamp(3, 5, False)]
