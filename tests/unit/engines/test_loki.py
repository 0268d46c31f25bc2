"""Records as Loki keeps them and gives them back, and selections as LogQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from stack.engines import Selection
from stack.engines.facts import LOKI_LABEL_LENGTH
from stack.engines.logql import MESSAGE, to_logql
from stack.engines.loki import Entry, entry_from, record_from

SINCE = datetime(2026, 1, 31, tzinfo=UTC)
UNTIL = datetime(2026, 2, 1, tzinfo=UTC)
TIME = 1_769_855_401_123_456_000
FULL: dict[str, Any] = {
    "timestamp": "2026-01-31T10:30:01.123456Z",
    "level": "ERROR",
    "logger_name": "tests",
    "message": 'a "quoted" message\nof two lines',
    "service_name": "erp",
    "environment": "dev",
    "host": "web-1",
    "request_id": "r-1",
    "user_id": 2**62 + 1,
    "duration_ms": 0.1,
    "truncated": True,
    "nested.a.b": "1",
}


def selection(**values: Any) -> Selection:
    return Selection(since=SINCE, until=UNTIL, **values)


def test_a_record_is_kept_as_labels_metadata_and_line() -> None:
    """The same three places that the agents use; the host stands beside the line."""
    entry = entry_from(FULL)
    assert entry.time == TIME
    assert entry.labels == {
        "level": "ERROR",
        "service_name": "erp",
        "environment": "dev",
        "host": "web-1",
    }
    assert entry.metadata == {
        "logger_name": "tests",
        "request_id": "r-1",
        "user_id": "4611686018427387905",
    }
    assert json.loads(entry.line) == {n: v for n, v in FULL.items() if n != "host"}


@pytest.mark.parametrize(
    "record",
    [
        FULL,
        {**FULL, "message": ""},
        {**FULL, "level": "TRACE"},
        {**FULL, "encoding_repaired": True},
        {**FULL, "timestamp_original": "9999-12-31T23:59:59Z"},
        {
            "timestamp": "2026-01-31T10:30:01.123456Z",
            "message": "  plain words ",
            "service_name": "erp",
            "environment": "dev",
            "host": "web-1",
            "format": "text",
            "log.file.path": "/var/log/x.log",
        },
        {
            "timestamp": "2026-01-31T10:30:01.000000Z",
            "message": '192.0.2.7 - - [31/Jan/2026:10:30:01 +0000] "GET /x HTTP/1.1" 404 12',
            "level": "WARNING",
            "service_name": "web",
            "environment": "dev",
            "host": "web-1",
            "client_ip": "192.0.2.7",
            "method": "GET",
            "path": "/x",
            "status": 404,
            "response_bytes": 12,
            "duration_ms": 1.5,
            "format": "access",
        },
    ],
    ids=["full", "empty message", "unknown level", "repaired", "far time", "text", "access"],
)
def test_what_is_pushed_comes_back_as_it_was(record: dict[str, Any]) -> None:
    """Every field with its type."""
    assert record_from(entry_from(record)) == record


def test_a_level_that_is_none_makes_no_stream() -> None:
    """Anybody could write any number of them."""
    assert "level" not in entry_from({**FULL, "level": "x"}).labels


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("s\ufffdx", "s?x"),
        (f"s{chr(0xD800)}x", "s?x"),
        ("s" * 3000, "s" * LOKI_LABEL_LENGTH),
        ("\U0001f600" * 3000, "\U0001f600" * LOKI_LABEL_LENGTH),
    ],
    ids=["U+FFFD", "lone surrogate", "long", "long and wide"],
)
@pytest.mark.parametrize("name", ["service_name", "environment", "host"])
def test_a_label_is_what_loki_takes(name: str, value: str, label: str) -> None:
    """It refuses a whole push for one that it does not take; agents repair them the same way."""
    assert entry_from({**FULL, name: value}).labels[name] == label


def test_a_time_that_the_agent_did_not_keep_makes_no_odd_record() -> None:
    """The line says another time than the record; its message is its own all the same."""
    own = "9999-12-31T23:59:59Z"
    line = json.dumps({n: v for n, v in FULL.items() if n != "host"} | {"timestamp": own})
    labels = {"service_name": "erp", "environment": "dev", "host": "web-1", "level": "ERROR"}
    record = record_from(Entry(TIME, line, labels, {"timestamp_original": own}))
    assert record == {**FULL, "timestamp_original": own}


def test_a_timestamp_that_the_agent_could_not_read_is_kept() -> None:
    """The record's time is that of its reading then."""
    line = json.dumps({**FULL, "timestamp": "yesterday"})
    record = record_from(Entry(TIME, line, {"host": "web-1"}, {}))
    assert record["timestamp_invalid"] == "yesterday"
    assert record["timestamp"] == FULL["timestamp"]


@pytest.mark.parametrize("stamp", ["2099-01-31T10:30:01Z", "0001-01-01T00:00:00+14:00"])
def test_a_timestamp_that_the_agent_replaced_is_kept(stamp: str) -> None:
    """It could be read, and the engine does not take it."""
    line = json.dumps({**FULL, "timestamp": stamp})
    record = record_from(Entry(TIME, line, {"host": "web-1"}, {}))
    assert record["timestamp_original"] == stamp
    assert "timestamp_invalid" not in record
    assert record["timestamp"] == FULL["timestamp"]


@pytest.mark.parametrize("depth", [*range(900, 1000, 7), 1000, 9000])
@pytest.mark.parametrize("brackets", [('{"a":', "}"), ("[", "]")], ids=["objects", "lists"])
def test_a_line_that_is_nested_too_deep_is_a_record(depth: int, brackets: tuple[str, str]) -> None:
    """A reader of its time also reads the others."""
    line = f'{{"message": "deep", "n": {brackets[0] * depth}1{brackets[1] * depth}}}'
    assert "deep" in str(record_from(Entry(TIME, line, {"host": "web-1"}, {}))["message"])


def test_a_lines_own_host_stands_aside_of_the_agents() -> None:
    """And its `format` says nothing of the line."""
    line = json.dumps({**FULL, "host": "own", "format": "text"})
    record = record_from(Entry(TIME, line, {"host": "web-1"}, {}))
    assert (record["host"], record["extra_host"]) == ("web-1", "own")
    assert record["extra_format"] == "text"
    assert "format" not in record


def test_json_without_a_message_is_its_own_message() -> None:
    """And what it lacks comes from the labels."""
    line = '{"msg": "nginx says", "status": 502}'
    labels = {"service_name": "web", "environment": "dev", "host": "web-1"}
    assert record_from(Entry(TIME, line, labels, {"log_file_path": "/x", "scope_name": "y"})) == {
        "timestamp": FULL["timestamp"],
        "message": line,
        "msg": "nginx says",
        "status": 502,
        "log.file.path": "/x",
        **labels,
    }


def test_labels_and_metadata_are_asked_for_without_parsing() -> None:
    """Only what stands in the line is parsed."""
    matches = {"service_name": "erp", "request_id": 'r"1', "log.file.path": "/x"}
    assert to_logql(selection(matches=matches, level="ERROR")) == (
        '{service_name="erp", level=~"ERROR|CRITICAL"} | request_id="r\\"1" | log_file_path="/x"'
    )


def test_a_selection_of_everything_names_one_label() -> None:
    """Loki takes no query without."""
    assert to_logql(selection()) == '{service_name=~".+"}'


def test_fields_of_the_line_are_parsed_by_name() -> None:
    """A value that JSON writes as it is narrows the lines first; a dot may mean nesting."""
    assert to_logql(selection(matches={"status": "502", "a.b": "ä"})) == (
        '{service_name=~".+"} |= "502" '
        '| json f0="[\\"status\\"]", f1="[\\"a.b\\"]", n1="[\\"a\\"][\\"b\\"]" '
        "| drop __error__, __error_details__ "
        '| f0="502" or status="502" | f1="ä" or n1="ä" '
        "| drop f0, f1, n1"
    )


def test_a_pattern_is_looked_for_in_message_and_traceback() -> None:
    """Anywhere in them, and in the line of what has no message."""
    assert to_logql(selection(grep="no.x")) == (
        '{service_name=~".+"} '
        '| json m0="[\\"message\\"]", m1="[\\"exception_message\\"]", m2="[\\"stack_trace\\"]" '
        "| drop __error__, __error_details__ "
        f"| label_format m0=`{MESSAGE}` "
        '| m0=~"(?s:.*)(?:no.x)(?s:.*)" or m1=~"(?s:.*)(?:no.x)(?s:.*)" '
        'or m2=~"(?s:.*)(?:no.x)(?s:.*)" '
        "| drop m0, m1, m2"
    )


def test_a_literal_pattern_narrows_the_lines_first() -> None:
    """Quick, and no more than the pattern itself demands."""
    assert '} |= "m123" | json' in to_logql(selection(grep="m123"))
