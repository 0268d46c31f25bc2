"""Times and labels that Loki does not take: they cost no record, neither their own nor others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stack.engines import Selection
from stack.engines.facts import LOKI_LABEL_LENGTH
from tests.support.native_stack import (
    LOKI,
    PROMTAIL,
    StackUnderTest,
    line,
    marker,
    on,
    poll,
    record,
)

pytestmark = [pytest.mark.native, on(LOKI, PROMTAIL)]

GOOD = 40
TIMES = {
    "year 9999": "9999-12-31T23:59:59Z",
    "year 2300": "2300-01-01T00:00:00Z",
    "after the last nanosecond": "2262-04-11T23:47:17Z",
    "year 2611, seen as today": "{+213503d}",
    "year 2099": "2099-01-01T00:00:00Z",
    "in 3 days": "{+3d}",
    "in 25 hours": "{+25h}",
    "8 days ago": "{-8d}",
    "60 days ago": "{-60d}",
    "a second of 1970": "1970-01-01T00:00:01Z",
    "the epoch": "1970-01-01T00:00:00Z",
    "year 1969": "1969-12-31T23:59:59Z",
    "before the first nanosecond": "1677-09-21T00:00:00Z",
    "year 1600": "1600-01-01T00:00:00Z",
    "year 1": "0001-01-01T00:00:00Z",
}


def moment(text: str) -> str:
    """A time as it is written, or one so many days or hours from now."""
    if not text.startswith("{"):
        return text
    number, unit = int(text[1:-2]), {"d": "days", "h": "hours"}[text[-2]]
    then = datetime.now(UTC) + timedelta(**{unit: number})
    return then.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.mark.parametrize("name", TIMES)
def test_a_time_that_cannot_be_kept_costs_no_record(stack: StackUnderTest, name: str) -> None:
    """It is stamped on arrival and keeps its own time beside; all after it are there."""
    service, own = marker(), moment(TIMES[name])
    odd = record("odd", service_name=service) | {"timestamp": own}
    stack.write(line(odd))
    before = datetime.now(UTC) - timedelta(minutes=1)
    [found] = stack.wait_for({"service_name": service}, 1)
    found.pop("log.file.path", None)
    stack.write(*(line(record("good", service_name=service, number=n)) for n in range(GOOD)))
    everything = stack.wait_for({"service_name": service}, GOOD + 1)
    assert len(everything) == GOOD + 1
    arrived = str(found.pop("timestamp"))
    assert before < datetime.fromisoformat(arrived) < datetime.now(UTC)
    # The collector's zero time is that of year 1: it cannot tell it from none.
    assert own in (found.pop("timestamp_original", None), found.pop("timestamp_invalid", None))
    del odd["timestamp"]
    assert found == {**odd, "host": "test-host"}


@pytest.mark.parametrize("hours", [-24 * 5, -1, 1, 22])
def test_a_time_that_can_be_kept_is_the_records_own(stack: StackUnderTest, hours: int) -> None:
    """Files read late, and clocks that are wrong by less than a day."""
    mark, own = marker(), moment(f"{{{hours:+}h}}")
    stack.write(line(record("wrong clock", mark=mark) | {"timestamp": own}))
    now = datetime.now(UTC)
    selection = Selection(now - timedelta(days=30), now + timedelta(days=2), matches={"mark": mark})
    poll(lambda: stack.engine.count(selection), stack.logs)
    [found] = stack.engine.records(selection, limit=5)
    assert found["timestamp"] == own
    assert "timestamp_original" not in found


WIDE = "\U0001f600"
FILE = {"service_name": "erp-backend-api", "environment": "dev"}
# What a line has for a label, as its bytes in JSON; what becomes of it; whether it is flagged.
VALUES: dict[str, tuple[bytes, str | None, bool]] = {
    "no UTF-8": (b'"s\xffx"', "s?x", True),
    "U+FFFD": ('"s\ufffdx"'.encode(), "s?x", True),
    "U+FFFD escaped": (b'"s\\ufffdx"', "s?x", True),
    "lone surrogate": (b'"s\\ud800x"', "s?x", True),
    "lone low surrogate": (b'"\\udc00"', "?", True),
    "pair of surrogates": (b'"s\\ud83d\\ude00"', f"s{WIDE}", False),
    "NUL": (b'"s\\u0000x"', "s\0x", False),
    "controls": (b'"s\\n\\t\\u0001\\u007f\\u0085\\u2028x"', "s\n\t\x01\x7f\x85\u2028x", False),
    "quotes": (b'"s\\"\\\\`x"', 's"\\`x', False),
    "long": (b'"%b"' % (b"s" * 1_000_000), "s" * LOKI_LABEL_LENGTH, False),
    "long and wide": (f'"{WIDE * 900}"'.encode(), WIDE * LOKI_LABEL_LENGTH, False),
    "empty": (b'""', None, False),
    "null": (b"null", None, False),
    "an object": (b'{"a":1}', None, False),
    "a list": (b'["a"]', None, False),
    "a number": (b"5", "5", False),
    "a truth value": (b"true", "true", False),
}  # fmt: skip


@pytest.mark.parametrize("field", FILE)
@pytest.mark.parametrize("value", VALUES)
def test_a_label_that_cannot_be_kept_costs_no_record(
    stack: StackUnderTest, field: str, value: str
) -> None:
    """It is repaired, or the file's own; the line stays; those before and after it are there."""
    mark = marker()
    written, label, flagged = VALUES[value]
    odd = line(record("odd", mark=mark) | {field: "VALUE"}).encode()
    good = line(record("good", mark=mark))
    stack.write(good, odd.replace(b'"VALUE"', written), good.replace("good", "also good"))
    found = {str(item["message"]): item for item in stack.wait_for({"mark": mark}, 3)}
    assert {"good", "also good"} < set(found)
    [kept] = [item for message, item in found.items() if message not in ("good", "also good")]
    assert kept[field] == (FILE[field] if label is None else label)
    assert kept["host"] == "test-host"
    assert kept.get("encoding_repaired", False) is flagged


@pytest.mark.parametrize(
    "level", [b'"\\ud800"', b'"IN\xffFO"', b'"\\u0000"', b'""', b"30", b"null", b'{"a":1}', b"true"]
)
def test_a_level_that_is_none_costs_no_record(stack: StackUnderTest, level: bytes) -> None:
    """It is no label; and the agent writes nothing of it, however many lines have it."""
    mark = marker()
    odd = line(record("odd", mark=mark) | {"level": "VALUE"}).encode()
    good = line(record("good", mark=mark))
    stack.write(good, odd.replace(b'"VALUE"', level), good.replace("good", "also good"))
    assert len(stack.wait_for({"mark": mark}, 3)) == 3
    assert "running if expr" not in stack.logs(100_000)
