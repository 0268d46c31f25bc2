"""Whatever is logged: one line of valid JSON below the cap, no secret, no exception, no change."""

from __future__ import annotations

import copy
import logging
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from logstack_django.contexts import Context, current
from logstack_django.encoding import encode_stdlib
from logstack_django.fields import HEAD_FIELDS, OWNED_FIELDS
from logstack_django.formatter import JsonFormatter

from tests.library.support import OPTIONS, SCHEMA, make_record, parse

SECRET = "Zq7secretXy"

texts = st.text(max_size=40) | st.text(st.characters(), max_size=20) | st.just("x" * 9_000)
numbers = (
    st.integers()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats()
    | st.decimals(allow_nan=True)
)
secrets = st.sampled_from(
    [
        f"password={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"https://user:{SECRET}@host/path",
        f"/callback?access_token={SECRET}&page=2",
        f'{{"api_key": "{SECRET}"}}',
        {"password": SECRET},
        {"nested": [{"X-Api-Key": SECRET}, ("a", {"clientSecret": SECRET})]},
    ]
)
scalars = (
    st.none()
    | st.booleans()
    | numbers
    | texts
    | st.binary(max_size=40)
    | st.dates()
    | st.datetimes()
    | st.uuids()
    | secrets
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=10) | st.integers(), inner, max_size=5)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)
contract = st.sampled_from([*SCHEMA["properties"], "_msg", "_time"])
names = (contract | st.text(min_size=1, max_size=12)).filter(
    lambda name: (
        name not in logging.LogRecord("", 0, "", 0, "", (), None).__dict__
        and name not in ("message", "asctime")
    )
)
fields = st.dictionaries(names, values, max_size=6)
templates = st.sampled_from(["plain", "%s and %s", "%d of %s", "100%", "%(a)s", ""]) | texts
levels = st.sampled_from([1, 5, 10, 20, 25, 30, 40, 50, 99])


def make_error(text: Any) -> BaseException:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def look(record: logging.LogRecord) -> dict[str, Any]:
    """The attributes as they are now; containers by content, the rest by identity."""
    return {
        name: copy.copy(value) if isinstance(value, dict | list) else value
        for name, value in record.__dict__.items()
    }


# It would print the longest values when an example fails.
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    message=templates,
    args=st.lists(values, max_size=2).map(tuple),
    extra=fields,
    context=fields,
    level=levels,
    error=st.none() | (texts | secrets).map(str),
)
def test_any_record_becomes_one_valid_line(
    message: str,
    args: tuple[Any, ...],
    extra: dict[str, Any],
    context: dict[str, Any],
    level: int,
    error: str | None,
) -> None:
    """One newline, strict JSON by the contract, below the cap, no secret; the record unchanged."""
    raised = make_error(error) if error is not None else None
    info = (type(raised), raised, raised.__traceback__) if raised is not None else None
    record = make_record(message, *args, level=level, exc_info=info, fields=extra)
    current.set(Context(context))
    before = look(record)
    formatter = JsonFormatter(OPTIONS)
    line = formatter.format_line(record)
    assert formatter.failures == 0
    assert len(line) < OPTIONS.max_record_bytes
    assert SECRET.encode() not in line
    found = parse(line)
    assert all(name in found for name in HEAD_FIELDS)
    assert found["service_name"] == "erp-test"
    if raised is not None:
        assert found["exception_type"] == "ValueError"
    after = look(record)
    assert list(after) == list(before)
    assert all(
        after[name] is before[name] or after[name] == before[name] or _nan(before[name])
        for name in before
    )
    assert parse(JsonFormatter(OPTIONS, encoder=encode_stdlib).format_line(record)) == found


def _nan(value: Any) -> bool:
    return "nan" in repr(value).lower()


words = st.text("ab1 ", min_size=1, max_size=9)
integers = st.integers(-(10**13), 10**13)
# What is plain, and what is close to it.
plain_extra = st.fixed_dictionaries(
    {},
    optional={
        "event_type": words,
        "duration_ms": integers | st.floats(),
        "object_id": integers | words,
        "status": integers,
        "plan": words | integers | st.floats() | st.booleans(),
    },
)
plain_context = st.fixed_dictionaries(
    {},
    optional={"request_id": words, "user_id": integers | words, "tenant": words, "seats": integers},
)
odd_names = (
    *("plan", "password", "data", "request", "server_time", "logstack_line", "é"),
    *(() if sys.version_info >= (3, 12) else ("taskName",)),  # logging refuses it since then
    *(name for name in SCHEMA["properties"] if name != "message"),
)
odd_values = st.sampled_from(["", "7", "-", "é", "a=b", "\u2028", None, True, -0.0, 10**12])
odd_fields = st.dictionaries(st.sampled_from(odd_names), odd_values | words, max_size=2)
many = {f"n{number}": number for number in range(64)}


@settings(max_examples=400, deadline=None)
@given(
    message=st.sampled_from(["Done", "", "a: b"]),
    extra=plain_extra | odd_fields,
    context=plain_context | odd_fields,
)
@example(message="Done", extra={**many, "last": None}, context={})
@example(message="Done", extra={**many, "last": ""}, context={})
@example(message="Done", extra={"password": ""}, context={})
@example(message="Done", extra={"status": 200, "event_type": "late"}, context={"plan": "a"})
@example(message="Done", extra={"plan": "b"}, context={"plan": "a"})
def test_plain_values_are_written_as_the_sanitizer_would_write_them(
    message: str, extra: dict[str, Any], context: dict[str, Any]
) -> None:
    """Or the record is left to the sanitizer."""
    formatter = JsonFormatter(OPTIONS)
    record = make_record(message, fields=extra)
    current.set(Context(context))
    careful = formatter._format_carefully(record)
    for _ in range(2):  # with fresh pieces, and with kept ones
        plain = formatter._format_plainly(record)
        if plain is not None:
            event("plain")
        assert plain is None or parse(plain) == parse(careful)


@settings(max_examples=100, deadline=None)
@given(extra=st.dictionaries(st.sampled_from(sorted(OWNED_FIELDS)), st.text("ab1", min_size=1)))
def test_owned_fields_survive_under_another_name(extra: dict[str, str]) -> None:
    """What an application sends under a name of the formatter's is renamed, never lost."""
    extra.pop("message", None)
    found = parse(JsonFormatter(OPTIONS).format_line(make_record("Mine", fields=extra)))
    assert found["message"] == "Mine"
    assert found["level"] == "INFO"
    for name, value in extra.items():
        assert found[f"extra_{name}"] == value
