"""How one record is shown to people, and to programs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.cli.record_format import format_record
from stack.cli.text import CONTROLS, as_json, visible
from stack.engines import Record

pytestmark = pytest.mark.usefixtures("new_delhi")

RECORD: Record = {
    "timestamp": "2026-01-31T10:30:01.123456Z",
    "level": "ERROR",
    "logger_name": "organizations.views",
    "message": "Could not create",
    "service_name": "erp",
    "environment": "prod",
    "host": "app-1",
    "trace_id": "4bf9",
    "request_id": "7b0a",
    "user_id": 42,
    "session_id": "c0ffee",
    "duration_ms": 1.5,
    "truncated": True,
    "reason": "no name given",
}


def test_a_record_is_one_line() -> None:
    """Time with offset, level, service, logger, message, then what else is worth reading."""
    assert format_record(RECORD).plain == (
        "2026-01-31 16:00:01.123+05:30 ERROR    erp organizations.views Could not create "
        'request_id=7b0a user_id=42 duration_ms=1.5 truncated=true reason="no name given"'
    )


def test_a_line_of_text_is_one_line_too() -> None:
    """It has no level and no logger."""
    record: Record = {
        "timestamp": "2026-01-31T10:30:01.123456Z",
        "message": "Segmentation fault",
        "service_name": "erp",
        "environment": "prod",
        "format": "text",
    }
    assert format_record(record).plain == (
        "2026-01-31 16:00:01.123+05:30 TEXT     erp - Segmentation fault"
    )


def test_a_traceback_is_indented_below_its_record() -> None:
    """As Python prints it; further lines of the message come before it."""
    record = {
        **RECORD,
        "message": "first\nsecond",
        "stack_trace": 'Traceback (most recent call last):\n  File "a.py", line 1\nValueError: x\n',
    }
    head, *rest = format_record(record).plain.split("\n")
    assert " first request_id=7b0a " in head
    assert rest == [
        "    second",
        "    Traceback (most recent call last):",
        '      File "a.py", line 1',
        "    ValueError: x",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b2J", r"\x9b2J"),
        ("a\rb", r"a\rb"),
        ("a\tb", r"a\tb"),
        ("\x07\x7f\x00", r"\x07\x7f\x00"),
        ("a\u2028b", r"a\u2028b"),
        ("größe 😀", "größe 😀"),
    ],
)
def test_control_characters_are_shown_and_not_obeyed(text: str, shown: str) -> None:
    """A log line cannot clear the screen or pretend to be two lines."""
    assert visible(text) == shown


@pytest.mark.parametrize(
    "name",
    ["timestamp", "level", "logger_name", "message", "service_name", "reason", "stack_trace"],
)
def test_no_field_reaches_the_terminal_raw(name: str) -> None:
    """Whoever can write a record can choose every field of it."""
    record = {**RECORD, name: "x\x1b]0;owned\x07\x9b1m\x7f"}
    shown = format_record(record).plain
    assert r"x\x1b]0;owned\x07\x9b1m\x7f" in shown
    assert not CONTROLS.search(shown.replace("\n", ""))


def test_no_field_name_reaches_the_terminal_raw() -> None:
    """Names of an application's own fields are chosen by it."""
    shown = format_record({**RECORD, "a\x1b[1m": "x"}).plain
    assert shown.endswith(r"a\x1b[1m=x")


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=8)), st.text(max_size=20))
def test_every_record_is_one_line_and_indented_ones(extra: dict[str, str], message: str) -> None:
    """Only line feeds of the message and the traceback begin a line."""
    first, *rest = format_record({**extra, "message": message}).plain.split("\n")
    assert not CONTROLS.search(first)
    for line in rest:
        assert line.startswith("    ")
        assert not CONTROLS.search(line)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=8) | st.integers()))
def test_json_is_one_line_that_means_the_same_and_has_no_controls(
    values: dict[str, object],
) -> None:
    """Programs read the same values; a terminal obeys none of them."""
    text = as_json(values)
    assert json.loads(text) == values
    assert not CONTROLS.search(text)
