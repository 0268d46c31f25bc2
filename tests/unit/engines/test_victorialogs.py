"""What VictoriaLogs is asked, and what is made of its answers; no server is needed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.common import quote
from stack.engines import EngineError, Selection
from stack.engines.victorialogs import VictoriaLogs, contract_time, record_from, to_logsql
from stack.records.contract import normalise
from tests.support.ports import free_ports

SINCE = datetime(2026, 1, 31, 10, 0, tzinfo=UTC)
UNTIL = datetime(2026, 1, 31, 11, 0, 0, 250, tzinfo=UTC)
TIMES = "_time:[2026-01-31T10:00:00.000000Z, 2026-01-31T11:00:00.000250Z)"


def logsql(level: str = "", grep: str = "", **matches: str) -> str:
    return to_logsql(Selection(SINCE, UNTIL, level=level, grep=grep, matches=matches))


def test_a_selection_of_times_is_half_open() -> None:
    """A record at the end belongs to the next selection only."""
    assert logsql() == TIMES


def test_times_are_asked_for_in_utc() -> None:
    """Whatever zone they were typed in."""
    zone = timezone(timedelta(hours=5, minutes=30))
    local = Selection(SINCE.astimezone(zone), UNTIL.astimezone(zone))
    assert to_logsql(local) == TIMES


def test_a_level_means_itself_and_the_more_severe_ones() -> None:
    """As every other reader of the contract understands it."""
    assert logsql(level="WARNING") == f"{TIMES} level:in(WARNING,ERROR,CRITICAL)"


def test_values_are_matched_exactly() -> None:
    """Not as words within the value."""
    assert logsql(service_name="erp", user_id="7") == (
        f'{TIMES} "service_name":="erp" "user_id":="7"'
    )


def test_a_pattern_is_looked_for_where_people_look() -> None:
    """In the message, the exception's message and the traceback."""
    assert logsql(grep="time.?out") == (
        f'{TIMES} (_msg:~"time.?out" or exception_message:~"time.?out" or stack_trace:~"time.?out")'
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('" or *', r'"\" or *"'),
        ("back\\slash", r'"back\\slash"'),
        ('\\" | delete', r'"\\\" | delete"'),
        ("a\nb\tc\x00", r'"a\nb\tc\u0000"'),
        ("`it's`", '"`it\'s`"'),
        ("größe 😀", '"größe 😀"'),
        ("", '""'),
    ],
)
def test_hostile_text_stays_inside_its_quotes(text: str, expected: str) -> None:
    """A value cannot extend a query."""
    assert quote(text) == expected
    assert logsql(request_id=text) == f'{TIMES} "request_id":={expected}'


@given(st.text())
def test_quoted_text_ends_where_it_should(text: str) -> None:
    """Every quote inside is escaped, and the text can be read back."""
    quoted = quote(text)
    inside = quoted[1:-1].replace("\\\\", "").replace('\\"', "")
    assert (quoted[0], quoted[-1], '"' in inside, "\n" in inside) == ('"', '"', False, False)
    assert json.loads(quoted) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T10:30:01Z", "2026-01-31T10:30:01.000000Z"),
        ("2026-01-31T10:30:01.5Z", "2026-01-31T10:30:01.500000Z"),
        ("2026-01-31T10:30:01.123456Z", "2026-01-31T10:30:01.123456Z"),
        ("2026-01-31T10:30:01.123456789Z", "2026-01-31T10:30:01.123456Z"),
    ],
)
def test_a_time_has_exactly_six_digits(text: str, expected: str) -> None:
    """VictoriaLogs leaves zeros out and may keep nanoseconds."""
    assert contract_time(text) == expected


def test_a_row_becomes_a_typed_record() -> None:
    """In the contract's order, without the engine's own fields; other fields are text."""
    row = {
        "_time": "2026-01-31T10:30:01.1Z",
        "_stream": '{service_name="erp"}',
        "_stream_id": "0000",
        "_msg": "Done",
        "zeta": "1",
        "status": "200",
        "duration_ms": "12",
        "truncated": "true",
        "level": "INFO",
        "service_name": "erp",
        "user_id": "007",
    }
    assert json.dumps(record_from(row)) == json.dumps(
        {
            "timestamp": "2026-01-31T10:30:01.100000Z",
            "level": "INFO",
            "message": "Done",
            "service_name": "erp",
            "user_id": "007",
            "duration_ms": 12.0,
            "status": 200,
            "truncated": True,
            "zeta": "1",
        }
    )


@pytest.mark.parametrize("row", [{"_msg": "(empty message)"}, {"_msg": ""}, {}])
def test_a_message_that_is_empty_comes_back_empty(row: dict[str, str]) -> None:
    """The engine cannot store it and stores a placeholder, which readers do not see."""
    assert record_from(row) == {"message": ""}


def test_a_record_comes_back_from_its_row_as_it_was_written() -> None:
    """What `push` sends and what `records` reads are the same record."""
    written = {
        "timestamp": "2026-01-31T10:30:01.123000Z",
        "level": "ERROR",
        "message": "several\nlines",
        "service_name": "erp",
        "duration_ms": 1.5,
        "cart": {"lines": [1, 2], "empty": ""},
    }
    sent = normalise(written)
    row = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in sent.items()
    }
    row |= {"_time": row.pop("timestamp"), "_msg": row.pop("message"), "_stream": "{}"}
    assert record_from(row) == sent


def test_an_engine_that_does_not_answer_is_a_clear_error() -> None:
    """With its address and the next command; also for a query that is not UTF-8."""
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    engine = VictoriaLogs(url)
    selection = Selection(SINCE, UNTIL)
    for send in (
        lambda: engine.count(selection),
        lambda: list(engine.query("\udcff", selection, limit=1)),
        lambda: engine.push([{"message": "x"}]),
    ):
        with pytest.raises(EngineError) as caught:
            send()
        assert str(caught.value) == (
            f"cannot reach VictoriaLogs at {url}: connection refused. Run: ./logstack status"
        )
