"""Times as users type them and as they are shown."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.records.timestamps import parse_moment, to_local

NOW = datetime(2026, 7, 15, 12, 0, tzinfo=UTC)


def test_now_is_now() -> None:
    """`now` is the time that the caller passes."""
    assert parse_moment("now", NOW) == NOW


@pytest.mark.parametrize(
    ("text", "ago"),
    [("5m", timedelta(minutes=5)), ("1h30m", timedelta(minutes=90)), ("7d", timedelta(days=7))],
)
def test_a_duration_is_that_long_ago(text: str, ago: timedelta) -> None:
    """`--since 5m` looks back."""
    assert parse_moment(text, NOW) == NOW - ago


@pytest.mark.usefixtures("new_delhi")
@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-31", "2026-01-30T18:30:00+00:00"),
        ("2026-01-31T10:30", "2026-01-31T05:00:00+00:00"),
        ("2026-01-31 10:30:15.25", "2026-01-31T05:00:15.250000+00:00"),
        ("2026-01-31T10:30+01:00", "2026-01-31T09:30:00+00:00"),
        ("2026-01-31T10:30:00Z", "2026-01-31T10:30:00+00:00"),
    ],
)
def test_a_time_without_an_offset_is_local(text: str, utc: str) -> None:
    """A time without an offset is local; with one, the offset counts."""
    assert parse_moment(text, NOW).astimezone(UTC).isoformat() == utc


@pytest.mark.usefixtures("new_york")
def test_a_local_time_follows_daylight_saving() -> None:
    """The offset is that of the day, not that of today."""
    summer, winter = parse_moment("2026-07-01T12:00"), parse_moment("2026-01-01T12:00")
    assert [m.astimezone(UTC).hour for m in (summer, winter)] == [16, 17]


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "-5m", "2026-13-01", "10:30", "9999999d", "9" * 30 + "d", "2026-01-31T25:00"],
)
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    """Also a duration that reaches back before the first year."""
    with pytest.raises(ValueError, match="expected a duration such as 5m") as caught:
        parse_moment(text, NOW)
    assert str(caught.value) == (
        "expected a duration such as 5m or 2h, or a time such as 2026-01-31 or 2026-01-31T10:30, "
        f"got {text!r}"
    )


@given(st.text(max_size=20))
def test_text_is_an_aware_moment_or_a_value_error(text: str) -> None:
    """No text makes another error."""
    with suppress(ValueError):
        assert parse_moment(text, NOW).tzinfo is not None


@pytest.mark.usefixtures("new_delhi")
def test_a_timestamp_is_shown_in_local_time_with_its_offset() -> None:
    """Users in two time zones can compare what they read."""
    assert to_local("2026-01-31T20:30:01.123456Z") == "2026-02-01 02:00:01.123+05:30"


@pytest.mark.usefixtures("new_york")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T20:30:01.000999Z", "2026-01-31 15:30:01.000-05:00"),
        ("2026-07-31T20:30:01.999999Z", "2026-07-31 16:30:01.999-04:00"),
    ],
)
def test_the_offset_shown_is_that_of_the_day(text: str, expected: str) -> None:
    """Milliseconds are cut, not rounded into the next second."""
    assert to_local(text) == expected


@pytest.mark.usefixtures("new_delhi")
@pytest.mark.parametrize("text", ["", "soon", "9999-12-31T23:59:59.999999Z"])
def test_what_is_no_time_is_shown_as_it_is(text: str) -> None:
    """Also a time that local time cannot express."""
    assert to_local(text) == text
