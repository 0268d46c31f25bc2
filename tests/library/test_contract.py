"""The record: names, order, types and owners of the contract."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import pytest
from logstack_django.contexts import current
from logstack_django.fields import (
    AGENT_FIELDS,
    COERCED_FIELDS,
    CONTEXT_FIELDS,
    ERROR_FIELDS,
    EVENT_FIELDS,
    FIELD_ORDER,
    HEAD_FIELDS,
    ID,
    INTEGER,
    NUMBER,
    SESSION,
    TEXT,
)
from logstack_django.formatter import JsonFormatter

from logstack_django import bind, context
from tests.library.support import OPTIONS, SCHEMA, format_both, format_one, make_record, parse

PROPERTIES: dict[str, dict[str, Any]] = SCHEMA["properties"]
SCHEMA_TYPES: dict[str, object] = {
    ID: ["integer", "string"],
    TEXT: "string",
    SESSION: "string",
    NUMBER: "number",
    INTEGER: "integer",
}


def set_by(who: str) -> list[str]:
    """Fields of the schema with this owner."""
    return [name for name, field in PROPERTIES.items() if field["x-set-by"] == who]


def test_the_table_of_fields_equals_the_schema() -> None:
    """Names, order, owners and types stand in two files, because applications get only one."""
    assert list(CONTEXT_FIELDS) == set_by("context")
    assert list(EVENT_FIELDS) == set_by("event")
    assert sorted(AGENT_FIELDS) == sorted(set_by("agent"))
    assert [*HEAD_FIELDS, *ERROR_FIELDS, "truncated"] == set_by("formatter")
    others = {*AGENT_FIELDS, *set_by("monitor")}
    assert list(FIELD_ORDER) == [name for name in PROPERTIES if name not in others]
    assert {name: SCHEMA_TYPES[kind] for name, kind in COERCED_FIELDS.items()} == {
        name: PROPERTIES[name]["type"] for name in COERCED_FIELDS
    }


def test_a_full_record_stands_in_the_order_of_the_contract() -> None:
    """Fields given in the opposite order come out in that of the schema, the unknown ones last."""
    values: dict[str, Any] = dict.fromkeys(COERCED_FIELDS, "text")
    values |= {"duration_ms": 1.5, "status": 200, "response_bytes": 12, "own": {"nested": [1, "a"]}}
    record = make_record("M", fields=dict(reversed(values.items())))
    found = format_both(record)
    assert list(found)[:6] == list(HEAD_FIELDS)
    assert list(found)[6:-1] == list(COERCED_FIELDS)
    assert list(found)[-1] == "own"
    assert found["own"] == {"nested": [1, "a"]}


def test_the_timestamp_has_six_digits_and_z() -> None:
    """It is the time at which the record was made, in UTC, cut to microseconds."""
    record = make_record()
    for created, text in [
        (1769855401.123456, "2026-01-31T10:30:01.123456Z"),
        (1769855401.0, "2026-01-31T10:30:01.000000Z"),
        (1769855401.999999, "2026-01-31T10:30:01.999999Z"),
    ]:
        record.created = created
        found = format_both(record)["timestamp"]
        assert re.fullmatch(PROPERTIES["timestamp"]["pattern"], found)
        assert found[:-3] == text[:-3]
        assert abs(int(found[-7:-1]) - int(text[-7:-1])) <= 1  # of a float of this size


@pytest.mark.parametrize(
    ("number", "name"),
    [(0, "DEBUG"), (10, "DEBUG"), (20, "INFO"), (25, "INFO"), (30, "WARNING"), (40, "ERROR"),
     (45, "ERROR"), (50, "CRITICAL"), (90, "CRITICAL")],
)  # fmt: skip
def test_levels_of_an_application_become_the_one_below(number: int, name: str) -> None:
    """The contract knows five levels."""
    assert format_one(level=number)["level"] == name


@pytest.mark.parametrize("field", ["user_id", "organization_id", "object_id"])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (5, 5),
        ("5", 5),
        ("-5", -5),
        ("0", 0),
        ("007", "007"),
        ("-0", "-0"),
        ("5.0", "5.0"),
        ("\u0665", "\u0665"),
        (" 5", " 5"),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), str(2**63)),
        (2**63 - 1, 2**63 - 1),
        (2**70, str(2**70)),
        (4111111111111111, 4111111111111111),
        ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
    ],
)
def test_ids_are_integers_when_they_look_like_it(
    field: str, given: object, expected: object
) -> None:
    """From extra and from the context alike; what would change when written back stays text."""
    found = format_one(**{field: given})[field]
    assert found == expected
    assert type(found) is type(expected)
    with context(**{field: given}):
        assert format_one()[field] == expected


@pytest.mark.parametrize("empty", [None, ""])
def test_fields_without_a_value_are_left_out(empty: object) -> None:
    """From extra and from the context alike; only the message may be empty."""
    with context(username=empty, own=empty, request_id="abc"):
        found = format_one("", event_type=empty, other=empty)
    assert list(found)[6:] == ["request_id"]
    assert found["message"] == ""


@pytest.mark.parametrize(
    "name", [*HEAD_FIELDS, *ERROR_FIELDS, *sorted(AGENT_FIELDS), "truncated", "_msg"]
)
def test_owned_fields_cannot_be_overridden(name: str) -> None:
    """Neither by extra nor by the context; the value survives as extra_<name>."""
    if name != "message":
        found = format_one(fields={name: "forged"})
        assert found.get(name) != "forged"
        assert found[f"extra_{name}"] == "forged"
    with context(**{name: "forged"}):
        found = format_one()
    assert found.get(name) != "forged"
    assert found[f"extra_{name}"] == "forged"


@pytest.mark.parametrize(
    ("name", "value"),
    [("duration_ms", "soon"), ("duration_ms", float("nan")), ("status", "ok"), ("status", 2.5),
     ("response_bytes", True), ("event_type", {"a": 1}), ("username", ["a"]), ("user_id", True)],
)  # fmt: skip
def test_a_value_of_the_wrong_type_survives_under_another_name(name: str, value: object) -> None:
    """A field of the contract has the contract's type or is absent."""
    found = format_one(fields={name: value})
    assert name not in found
    assert found[f"extra_{name}"] in (value, str(value))


def test_extra_wins_over_the_context_and_what_is_bound_later_over_the_earlier() -> None:
    """The call that logs knows best."""
    with context(username="outer", plan="a"):
        bind(plan="b")
        found = format_one(username="inner")
    assert found["username"] == "inner"
    assert found["plan"] == "b"
    with context(plan="outer"):
        assert format_one(plan="inner")["plan"] == "inner"


def test_the_record_itself_is_never_changed() -> None:
    """Other handlers see what they expect: message, args, attributes."""
    record = make_record("%s and %s", "a", {"password": "x"}, token="y", request_id="z")
    before = dict(record.__dict__)
    JsonFormatter(OPTIONS).format_line(record)
    assert record.__dict__ == before
    assert record.getMessage() == "a and {'password': 'x'}"


def test_fields_that_other_formatters_leave_behind_are_no_extras() -> None:
    """`message` and `asctime` are written into the record by the standard formatter."""
    record = make_record("Mine")
    logging.Formatter("%(asctime)s %(message)s").format(record)
    assert list(format_both(record)) == list(HEAD_FIELDS)


def test_a_record_from_an_asyncio_task_has_no_further_field() -> None:
    """Python 3.12 added taskName to every record."""

    async def log() -> logging.LogRecord:
        return make_record("Mine")

    assert list(format_both(asyncio.run(log()))) == list(HEAD_FIELDS)


def test_attributes_of_a_record_factory_come_out_as_extras() -> None:
    """Also when the record lacks a standard attribute, or has them in another order."""
    record = make_record("Mine", own="kept")
    record.__dict__["pathname"] = record.__dict__.pop("pathname")
    found = format_both(record)
    assert list(found) == [*HEAD_FIELDS, "own"]
    del record.__dict__["funcName"]
    assert list(format_both(record)) == [*HEAD_FIELDS, "own"]


def test_a_plain_record_is_written_as_the_sanitizer_would_write_it() -> None:
    """Byte by byte, where its fields are in the order of the contract."""
    formatter = JsonFormatter(OPTIONS)
    with context(request_id="abcdef12", user_id=7, plan="pro"):
        record = make_record("%s of %d", "one", 2, event_type="done", duration_ms=1.5, own="é")
        plain = formatter._format_plainly(record)
        assert plain is not None
        assert plain == formatter._format_carefully(record)


def test_an_encoded_context_is_used_again_only_for_the_same_fields() -> None:
    """Each binding makes a context of its own."""
    formatter = JsonFormatter(OPTIONS)
    with context(plan="a"):
        assert parse(formatter.format_line(make_record()))["plan"] == "a"
        bind(plan="b")
        assert parse(formatter.format_line(make_record()))["plan"] == "b"
        bind(plan=None)
        assert "plan" not in parse(formatter.format_line(make_record()))
    assert current.get() is None
