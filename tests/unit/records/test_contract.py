"""The log-record contract: the schema, and the way from a written line to a typed record."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.records import contract
from stack.records.contract import Placement

EXAMPLE: dict[str, Any] = {
    "timestamp": "2026-01-31T10:30:01.123456Z",
    "level": "ERROR",
    "level_original": "err",
    "logger_name": "organizations.views",
    "message": "Organization could not be created",
    "service_name": "erp-backend-api",
    "environment": "prod",
    "host": "app-1",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "request_id": "7b0a",
    "user_id": 42,
    "username": "alice",
    "organization_id": "acme",
    "session_id": "c0ffee",
    "client_ip": "2001:db8::1",
    "event_type": "organization_created",
    "duration_ms": 12.5,
    "object_id": 7,
    "object_type": "organizations.Organization",
    "method": "POST",
    "route": "organizations/",
    "path": "/organizations/",
    "status": 500,
    "response_bytes": 145,
    "exception_type": "ValueError",
    "exception_message": "no name",
    "stack_trace": "Traceback (most recent call last):\nValueError: no name",
    "truncated": True,
    "syslog_identifier": "erp",
    "encoding_repaired": False,
    "timestamp_original": "2099-01-31T10:30:01.123456Z",
    "timestamp_invalid": "yesterday",
}
TEXT_LINE = {
    "timestamp": "2026-01-31T10:30:01.123456Z",
    "message": "Segmentation fault",
    "service_name": "erp-backend-api",
    "environment": "prod",
    "format": "text",
}
ACCESS_LINE = {**TEXT_LINE, "format": "access", "level": "ERROR", "method": "GET", "status": 502}


def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(contract.schema())


def problems(record: dict[str, Any]) -> list[str]:
    """What the schema says against a record."""
    return sorted(error.message for error in validator().iter_errors(record))


def test_the_schema_is_valid_under_its_own_draft() -> None:
    """JSON Schema 2020-12 checks it, and it says that it is of that draft."""
    assert contract.schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(contract.schema())


def test_the_example_has_every_field_that_json_records_can_have() -> None:
    """The tests below leave nothing out."""
    others = ("format", *(f.name for f in contract.fields().values() if f.set_by == "monitor"))
    assert list(EXAMPLE) == [name for name in contract.fields() if name not in others]


@pytest.mark.parametrize(
    "record", [EXAMPLE, TEXT_LINE, ACCESS_LINE, {**EXAMPLE, "cart": {"lines": [1, 2]}}]
)
def test_the_schema_accepts_a_record(record: dict[str, Any]) -> None:
    """A full one, a line of text, and one with fields that the application added."""
    assert problems(record) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timestamp", "2026-01-31T10:30:01Z"),
        ("timestamp", "2026-01-31T10:30:01.123456+00:00"),
        ("level", "error"),
        ("level", "FATAL"),
        ("message", None),
        ("user_id", 1.5),
        ("user_id", True),
        ("duration_ms", "12.5"),
        ("status", "500"),
        ("truncated", "true"),
        ("format", "json"),
    ],
)
def test_the_schema_refuses_a_wrong_value(name: str, value: object) -> None:
    """Every type and form that the contract fixes is checked."""
    found = list(validator().iter_errors({**EXAMPLE, name: value}))
    assert [list(error.absolute_path) for error in found] == [[name]]


@pytest.mark.parametrize(
    "name", ["timestamp", "level", "logger_name", "message", "service_name", "environment"]
)
def test_a_json_record_without_a_required_field_is_refused(name: str) -> None:
    """The six that every record of an application has."""
    record = {key: value for key, value in EXAMPLE.items() if key != name}
    assert problems(record) == [f"'{name}' is a required property"]


@pytest.mark.parametrize("name", ["timestamp", "message", "service_name", "environment"])
def test_a_line_of_text_without_a_required_field_is_refused(name: str) -> None:
    """The four that the agent adds to every line that is not JSON."""
    record = {key: value for key, value in TEXT_LINE.items() if key != name}
    assert problems(record) == [f"'{name}' is a required property"]


def test_a_record_without_a_level_is_refused_unless_it_is_text() -> None:
    """Only `format` makes the difference."""
    record = {key: value for key, value in TEXT_LINE.items() if key != "format"}
    assert problems(record) == [
        "'level' is a required property",
        "'logger_name' is a required property",
    ]


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        ("label", "service_name environment host level"),
        (
            "metadata",
            "request_id trace_id user_id username organization_id session_id client_ip "
            "logger_name event_type object_id object_type exception_type "
            "component destination problem",
        ),
        (
            "line",
            "timestamp message duration_ms method route path status response_bytes "
            "exception_message stack_trace truncated format syslog_identifier encoding_repaired "
            "level_original timestamp_original timestamp_invalid",
        ),
    ],
)
def test_every_field_is_placed_as_the_design_says(placement: Placement, expected: str) -> None:
    """Labels are few on purpose: each value of each is a stream."""
    assert set(contract.names(placement)) == set(expected.split())


def test_every_field_says_what_it_means_and_who_sets_it() -> None:
    """The documentation's table is made from it."""
    known = {"formatter", "context", "event", "agent", "monitor"}
    for field in contract.fields().values():
        assert field.description.endswith("."), field.name
        assert field.set_by in known, field.name


def test_the_levels_are_those_of_the_schema() -> None:
    """From the least to the most severe."""
    assert list(contract.LEVELS) == contract.schema()["properties"]["level"]["enum"]


def test_each_spelling_is_of_one_level() -> None:
    """And each level of the contract has some."""
    spellings = contract.schema()["properties"]["level"]["x-spellings"]
    assert tuple(spellings) == contract.LEVELS
    words = [word for texts in spellings.values() for word in texts]
    assert sorted(set(words)) == sorted(words)


def test_each_alias_is_of_one_field() -> None:
    """And no field of the contract is one."""
    aliases = [name for field in contract.fields().values() for name in field.aliases]
    assert sorted(set(aliases)) == sorted(aliases)
    assert not {*aliases} & {*contract.fields()}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("user_id", "42", 42),
        ("user_id", "-42", -42),
        ("user_id", "0", 0),
        ("user_id", "007", "007"),
        ("user_id", "-0", "-0"),
        ("user_id", " 7", " 7"),
        ("user_id", "+7", "+7"),
        ("user_id", "1_000", "1_000"),
        ("user_id", "7.0", "7.0"),
        ("user_id", "٣", "٣"),
        ("user_id", "acme", "acme"),
        ("user_id", "9223372036854775807", 9223372036854775807),
        ("user_id", "9223372036854775808", "9223372036854775808"),
        ("user_id", "-9223372036854775808", -9223372036854775808),
        ("status", "200", 200),
        ("status", "OK", "OK"),
        ("duration_ms", "12.5", 12.5),
        ("duration_ms", "12", 12.0),
        ("duration_ms", "1e-07", 1e-07),
        ("duration_ms", "1_0", "1_0"),
        ("duration_ms", " 7", " 7"),
        ("duration_ms", "nan", "nan"),
        ("duration_ms", "Infinity", "Infinity"),
        ("duration_ms", "1e999", "1e999"),
        ("truncated", "true", True),
        ("truncated", "false", False),
        ("truncated", "True", "True"),
        ("message", "42", "42"),
        ("request_id", "42", "42"),
    ],
)
def test_text_becomes_a_value_only_where_it_is_one(name: str, text: str, expected: object) -> None:
    """Text that Python, but not JSON, takes for a number stays text."""
    found = contract.fields()[name].parse(text)
    assert (found, type(found)) == (expected, type(expected))


def test_nested_values_become_json_in_one_field() -> None:
    """Free keys make no fields; whole numbers have no fraction."""
    nested = {"a": {"b": {"c": 1}, "d": [1, "x", None]}, "e": 2.0, "f": True, "g": None, "h": {}}
    assert contract.texts_of(nested) == {
        "a": '{"b":{"c":1},"d":[1,"x",null]}',
        "e": "2",
        "f": "true",
        "g": "",
        "h": "{}",
    }


def test_a_lines_own_values_move_aside_for_those_of_the_agent() -> None:
    """As in logstack_django; a label is text, so that a nested one is none."""
    line = {"host": "web", "format": None, "_time": 1, "service_name": ["x"], "level": "INFO"}
    assert contract.rename_reserved(line) == {
        "extra_host": "web",
        "extra_format": None,
        "extra__time": 1,
        "extra_service_name": ["x"],
        "level": "INFO",
    }


def test_a_typed_record_has_the_contracts_fields_first() -> None:
    """In the contract's order; others follow by name, as text."""
    found = contract.parse_record({"zeta": "1", "alpha": "2", "status": "200", "level": "INFO"})
    assert list(found.items()) == [
        ("level", "INFO"),
        ("status", 200),
        ("alpha", "2"),
        ("zeta", "1"),
    ]


def test_a_normalised_record_has_no_empty_values_except_the_message() -> None:
    """An engine that keeps no empty field gives back the same."""
    written = {"message": "", "username": "", "user_id": None}
    assert contract.normalise(written) == {"message": ""}


def test_the_example_comes_back_as_it_was_written() -> None:
    """Values, types and order."""
    found = contract.normalise(EXAMPLE)
    assert json.dumps(found) == json.dumps(EXAMPLE)


def is_no_number(text: str) -> bool:
    return isinstance(contract.fields()["user_id"].parse(text), str)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(min_size=1),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
}


def values_of(field: contract.Field) -> st.SearchStrategy[Any]:
    """Everything that a field may hold; text that looks like an integer is written as one."""
    if field.types == ("integer", "string"):
        return VALUES["integer"] | VALUES["string"].filter(is_no_number)
    return VALUES[field.types[0]]


RECORDS = st.fixed_dictionaries(
    {"message": st.text()},
    optional={n: values_of(f) for n, f in contract.fields().items() if n != "message"},
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
LINES = st.dictionaries(st.sampled_from(list(contract.fields())) | st.text(max_size=5), JSON)


@given(RECORDS)
def test_a_record_of_the_contract_comes_back_as_it_was_written(record: dict[str, Any]) -> None:
    """Whatever the values are: nothing is lost, added or of another type."""
    found = contract.normalise(record)
    assert found == record
    assert {n: type(v) for n, v in found.items()} == {n: type(v) for n, v in record.items()}
    assert list(found) == [name for name in contract.fields() if name in record]


@given(LINES)
def test_what_was_normalised_once_stays_as_it_is(line: dict[str, Any]) -> None:
    """Any JSON object becomes a flat record of text, numbers and booleans, and only once."""
    once = contract.normalise(line)
    assert all(isinstance(value, str | int | float) for value in once.values())
    assert contract.normalise(once) == once


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("DEBUG", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]),
        ("ERROR", ["ERROR", "CRITICAL"]),
        ("CRITICAL", ["CRITICAL"]),
    ],
)
def test_a_level_stands_for_itself_and_the_more_severe_ones(
    level: str, expected: list[str]
) -> None:
    """As `logstack logs --level` uses it."""
    assert contract.levels_from(level) == expected


@pytest.mark.parametrize("level", ["error", "FATAL", ""])
def test_a_level_that_does_not_exist_is_refused(level: str) -> None:
    """The error lists the ones that do."""
    with pytest.raises(ValueError, match="expected one of") as caught:
        contract.levels_from(level)
    assert str(caught.value) == (
        f"expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL, got {level!r}"
    )
