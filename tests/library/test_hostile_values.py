"""Values that break other formatters give one valid line, and no harm to the application."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import logging
import math
import os
import pathlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection
from django.http import HttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st
from logstack_django.formatter import JsonFormatter
from logstack_django.options import Options
from logstack_django.sanitize import CUT, MAX_KEY

from logstack_django import context
from tests.library.support import OPTIONS, format_both, format_one, make_record, parse

SURROGATE = os.fsdecode(b"\xff")
NAMES = st.text(min_size=1, max_size=150)
NESTED = st.recursive(
    st.integers(), lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3)
)


class RaisingText:
    """Its text cannot be made."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    __str__ = __repr__


class RecursiveText:
    """Making its text never ends."""

    def __repr__(self) -> str:
        return repr(self)

    __str__ = __repr__


class LyingClass:
    """Asking for its class fails."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("no class")

    def __repr__(self) -> str:
        return "<lying>"


class BrokenMapping(dict[str, str]):
    """Reading it fails."""

    def items(self) -> Any:
        raise RuntimeError("no items")


class Color(enum.Enum):
    """An enumeration of plain values."""

    RED = "red"


@dataclasses.dataclass
class Point:
    """A data class with a secret."""

    x: int
    password: str


def deep(levels: int) -> dict[str, Any]:
    """A dict in a dict in a dict."""
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"in": value}
    return value


def circular() -> dict[str, Any]:
    """A dict that contains itself."""
    value: dict[str, Any] = {"name": "loop"}
    value["self"] = value
    return value


NUMBERS = [
    (float("nan"), "nan"),
    (float("inf"), "inf"),
    (float("-inf"), "-inf"),
    (2**70, str(2**70)),
    (-(2**63) - 1, str(-(2**63) - 1)),
    (2**64 - 1, str(2**64 - 1)),
    (decimal.Decimal("1.10"), "1.10"),
    (True, True),
]


@pytest.mark.parametrize(("value", "expected"), NUMBERS)
def test_numbers_that_json_lacks_become_text(value: object, expected: object) -> None:
    """On the top level and nested."""
    found = format_one(own=value, nested={"list": [value]})
    assert found["own"] == expected
    assert found["nested"] == {"list": [expected]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime.datetime(2026, 1, 31, 12, 0, tzinfo=datetime.UTC), "2026-01-31T12:00:00Z"),
        (
            datetime.datetime(
                2026, 1, 31, 12, tzinfo=datetime.timezone(datetime.timedelta(hours=2))
            ),
            "2026-01-31T10:00:00Z",
        ),
        (datetime.date(2026, 1, 31), "2026-01-31"),
        (datetime.time(9, 30), "09:30:00"),
        (datetime.timedelta(seconds=90), "0:01:30"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (b"abc\xff", "abc\\xff"),
        (bytearray(b"abc"), "abc"),
        (memoryview(b"abc"), "abc"),
        ((1, "a"), [1, "a"]),
        (frozenset({1}), [1]),
        (Color.RED, "red"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (mark_safe("<b>"), "<b>"),
        (gettext_lazy("Yes"), "Yes"),
        (collections.OrderedDict(a=1), {"a": 1}),
        (ValueError("bad"), "ValueError: bad"),
        (Point(1, "hunter2"), f"{Point.__qualname__}(x=1, password='[redacted]')"),
        ({1: "a", None: "b", ("t",): "c"}, {"1": "a", "None": "b", "('t',)": "c"}),
        (RaisingText(), f"<unprintable {__name__}.RaisingText>"),
        (RecursiveText(), f"<unprintable {__name__}.RecursiveText>"),
        (BrokenMapping(a="b"), f"<unreadable {__name__}.BrokenMapping>"),
        (circular(), {"name": "loop", "self": "[circular]"}),
    ],
)
def test_every_kind_of_value_has_a_json_form(value: object, expected: object) -> None:
    """As an extra field and as an argument of the message."""
    assert format_one(own=value)["own"] == expected
    assert format_one("%s|%r", value, 1)["message"] == f"{expected}|1"


def test_a_value_that_lies_about_its_class_does_no_harm() -> None:
    """Its class is never asked for."""
    assert format_one(own=LyingClass())["own"] == "<lying>"


@pytest.mark.parametrize("levels", [10, 5_000, 10_000])
def test_deep_nesting_is_cut(levels: int) -> None:
    """Below any recursion limit."""
    found = format_one(own=deep(levels))
    assert found["truncated"] is True
    assert str(found["own"]).count("in") <= 10


def test_an_endless_generator_is_not_consumed() -> None:
    """Logging an iterator takes nothing from it."""

    def numbers() -> Iterator[int]:
        yield from range(10)

    generator = numbers()
    assert "generator" in format_one(own=generator)["own"]
    assert next(generator) == 0


@pytest.mark.parametrize(
    "place",
    [
        lambda text: make_record(text),
        lambda text: make_record("%s", text),
        lambda text: make_record(own=text),
        lambda text: make_record(event_type=text),
        lambda text: make_record(fields={text: "value"}),
        lambda text: make_record(own={text: [text]}),
        lambda text: make_record(name=f"app.{text}"),
        lambda text: make_record(exc_info=(ValueError, ValueError(text), None)),
    ],
)
def test_undecodable_text_comes_out_as_utf8(place: Callable[[str], logging.LogRecord]) -> None:
    """A file name that is not UTF-8, in every place of a record."""
    format_both(place(f"file{SURROGATE}"))


def test_unicode_line_separators_do_not_split_the_line() -> None:
    """Readers that cut text into lines know more of them than JSON does."""
    found = format_one("a\u2028b\u2029c\x85d\x0be\x1ff\r\ng", own="\u2028")
    assert found["message"] == "a\u2028b\u2029c\x85d\x0be\x1ff\r\ng"


@pytest.mark.parametrize(
    ("message", "args", "expected"),
    [
        ("%d items", ("many",), "%d items ['many']"),
        ("%s", ("a", "b"), "%s ['a', 'b']"),
        ("%(a)s", ("x",), "%(a)s ['x']"),
        ("100%", ("x",), "100% ['x']"),
        ("%d and %5.1f", (decimal.Decimal(3), decimal.Decimal("2.5")), "3 and   2.5"),
        ("%(name)s", ({"name": "ann"},), "ann"),
        (42, (), "42"),
        ({"a": 1}, (), "{'a': 1}"),
        (None, (), "None"),
        (b"raw", (), "raw"),
        (gettext_lazy("Hi %s"), ("ann",), "Hi ann"),
    ],
)
def test_no_message_is_lost_to_its_arguments(message: Any, args: Any, expected: str) -> None:
    """Arguments that do not fit are shown behind the template."""
    assert format_one(message, *args)["message"] == expected


def test_logging_runs_no_query(database: None) -> None:
    """QuerySets, managers, deferred fields and lazy objects are named, not read."""
    deferred = User.objects.defer("username").get(username="ann")
    lazy = SimpleLazyObject(lambda: User.objects.get(username="ann"))
    values = {
        "queryset": User.objects.filter(username="ann"),
        "manager": User.objects,
        "unsaved": User(username="bob"),
        "deferred": deferred,
        "lazy": lazy,
    }
    with CaptureQueriesContext(connection) as queries:
        found = format_one("%s %s", values["queryset"], lazy, **values)
        format_one(lazy, user_id=lazy)
    assert len(queries) == 0
    assert found["queryset"] == "<QuerySet of auth.User>"
    assert found["manager"] == "<Manager of auth.User>"
    assert found["unsaved"] == "auth.User(pk=None)"
    assert found["deferred"] == f"auth.User(pk={deferred.pk})"
    assert found["lazy"] == "<lazy object, not loaded>"
    assert found["message"] == "<QuerySet of auth.User> <lazy object, not loaded>"
    lazy.username  # noqa: B018
    assert format_one(own=lazy)["own"] == f"auth.User(pk={deferred.pk})"


def test_requests_and_responses_show_no_secret() -> None:
    """Method and path only; the text that Django makes of a request has the query string."""
    request = RequestFactory().get("/reset/?token=s3cr3t")
    request.user = AnonymousUser()
    found = format_one("%s", request, request=request, own=request, response=HttpResponse("x"))
    assert "s3cr3t" not in str(found)
    assert found["own"] == found["message"] == "GET /reset/"
    assert found["response"] == "<HttpResponse status_code=200>"


def test_a_record_is_capped_with_the_largest_fields_first() -> None:
    """1 MB in one field leaves the others whole."""
    small = {"a": "kept", "b": {"kept": True}}
    found = format_one("m" * 1_000_000, fields={**small, "big": ["x" * 5000] * 10})
    assert found["truncated"] is True
    assert len(found["message"]) > 4000
    assert found["a"] == "kept"
    assert found["b"] == {"kept": True}


@pytest.mark.parametrize("character", ["x", "é", "\u2028", "😀", "\x00", '"'])
def test_the_cap_counts_encoded_bytes(character: str) -> None:
    """Never cut inside a character, whatever it takes in JSON."""
    formatter = JsonFormatter(OPTIONS)
    for fields in ({}, {"own": character * 9000}, {f"k{i}": character * 500 for i in range(60)}):
        line = formatter.format_line(make_record(character * 1_000_000, fields=fields))
        assert len(line) < OPTIONS.max_record_bytes
        assert parse(line)["truncated"] is True
    assert formatter.failures == 0


def test_many_fields_and_items_are_cut() -> None:
    """10 000 of anything still make one record."""
    many = {f"field_{i}": i for i in range(10_000)}
    found = format_one(fields={**many, "items_": list(range(10_000))})
    assert found["truncated"] is True
    assert format_one(own=list(range(10_000)))["own"][-1].endswith("9936 more")
    assert format_one(own=many)["truncated"] is True
    long_names = {f"{'n' * 200}{i}": "v" * 200 for i in range(64)}
    assert format_one(fields=long_names)["truncated"] is True


def test_a_formatter_that_fails_gives_a_constant_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the arguments, which may hold secrets; counted."""
    formatter = JsonFormatter(OPTIONS)

    def fail(*args: object) -> None:
        raise RecursionError("deep")

    monkeypatch.setattr(formatter._plain, "read", fail)
    found = parse(formatter.format_line(make_record("password %s", "hunter2", name="app")))
    assert found["event_type"] == "log_record_unformattable"
    assert found["logger_name"] == "app"
    assert found["format_error"] == "RecursionError"
    assert "hunter2" not in str(found)
    assert formatter.failures == 1


@pytest.mark.parametrize("name", ["k" * 129, "ü" * 65, "💸" * 40, "k" * 10_000])
def test_names_have_at_most_128_bytes(name: str) -> None:
    """VictoriaLogs would drop the record. The beginning stays, and that it was cut is said."""
    [found] = [key for key in format_one(fields={name: 1}) if key[0] == name[0] and "[cut]" in key]
    assert len(found.encode()) <= MAX_KEY
    assert name.startswith(found.removesuffix(CUT))


def test_nested_names_are_counted_with_their_dots() -> None:
    """What does not fit is text; what fits stays an object."""
    deep = {"m" * 40: {"n" * 60: {"left": 1, "o" * 30: 2}, "short": {"p": 3}}}
    found = format_one(fields={"outer": deep, "other": {"a": {"b": 4}}})
    assert found["other"] == {"a": {"b": 4}}
    inner = found["outer"]["m" * 40]
    assert inner["short"] == {"p": 3}
    assert json.loads(inner["n" * 60]) == {"left": 1, "o" * 30: 2}
    assert longest_name(found) <= MAX_KEY


@given(st.dictionaries(NAMES, NESTED, min_size=1))
def test_no_name_is_longer_whatever_is_nested(value: dict[str, Any]) -> None:
    """Joined with dots, as VictoriaLogs writes them."""
    assert longest_name(format_one(fields={"value": value})) <= MAX_KEY


def longest_name(record: dict[str, Any], before: int = 0) -> int:
    """In bytes, with the names above it and dots between."""
    found = [before]
    for name, value in record.items():
        size = before + len(name.encode())
        found.append(longest_name(value, size + 1) if isinstance(value, dict) and value else size)
    return max(found)


@pytest.mark.parametrize("place", ["argument", "extra"])
def test_a_large_payload_leaves_the_fields_of_the_contract(place: str) -> None:
    """They have room of their own, whatever stands before them."""
    payload = [[1] * 40] * 40
    known = {"event_type": "sync", "duration_ms": 3, "object_id": 7, "status": 200}
    with context(request_id="0123456789abcdef", username="bob", client_ip="192.0.2.4"):
        if place == "argument":
            found = format_one("payload %s", payload, fields=known)
        else:
            found = format_one("payload", fields={"payload": payload, **known})
    assert found["truncated"] is True
    known |= {"request_id": "0123456789abcdef", "username": "bob", "client_ip": "192.0.2.4"}
    assert {name: found.get(name) for name in known} == known


def test_many_fields_leave_those_of_the_contract() -> None:
    """Also those that come after the last one that fits."""
    found = format_one(fields={**{f"field_{i}": i for i in range(100)}, "status": 200})
    assert (found["status"], found["truncated"]) == (200, True)


@pytest.mark.parametrize("number", [math.inf, math.nan])
def test_a_number_that_does_not_fit_its_place_loses_nothing(number: float) -> None:
    """The template is shown with the arguments behind it."""
    found = format_one("took %d ms for %s", number, "job 7", fields={"order": 5})
    assert found["message"].startswith("took %d ms for %s")
    assert "job 7" in found["message"]
    assert found["order"] == 5


@pytest.mark.parametrize("name", ["measured_value_number_{:02d}", "ы" * 60 + "{:02d}"])
@pytest.mark.parametrize("count", [56, 58, 60, 62, 64])
def test_the_message_stays_whatever_numbers_are_beside_it(name: str, count: int) -> None:
    """Numbers cannot be cut, so some of them go."""
    options = Options(service="s", max_record_bytes=2048)
    fields = {name.format(i): i * 1.5 for i in range(count)}
    line = JsonFormatter(options).format_line(make_record("important", fields=fields, status=200))
    found = parse(line)
    assert len(line) < 2048
    assert (found["message"], found["status"]) == ("important", 200)


def test_a_field_named_server_time_is_shown() -> None:
    """Only django.server has one of its own, which says nothing new."""
    assert format_one(server_time="12:00")["server_time"] == "12:00"
    assert "server_time" not in format_one(name="django.server", server_time="12:00")
