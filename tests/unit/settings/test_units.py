"""Durations and sizes as text."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.settings.units import format_bytes, go_duration, parse_bytes, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200ms", timedelta(milliseconds=200)),
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("0s", timedelta()),
    ],
)
def test_a_duration_is_read(text: str, expected: timedelta) -> None:
    """Every unit, and several of them."""
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "5", "s", "-5m", "5 m", "1.5h", "5m ", "5M", "٣s", "99999999999w", "9" * 30 + "s"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Neither other notations nor more than Python can count."""
    with pytest.raises(ValueError, match=r"^a duration such as 200ms, 30s, 5m, 1h30m or 7d$"):
        parse_duration(text)


@given(st.text(alphabet="0123456789msdhw .-", max_size=30))
def test_text_is_a_duration_or_a_value_error(text: str) -> None:
    """No text makes another error, and no duration is negative."""
    with suppress(ValueError):
        assert parse_duration(text) >= timedelta()


@given(st.integers(0, 10**4), st.integers(0, 10**4), st.integers(0, 10**4))
def test_the_parts_of_a_duration_add_up(days: int, minutes: int, milliseconds: int) -> None:
    """The whole is the sum, whatever the numbers are."""
    expected = timedelta(days=days, minutes=minutes, milliseconds=milliseconds)
    assert parse_duration(f"{days}d{minutes}m{milliseconds}ms") == expected


@given(st.integers(0, 10**4), st.integers(0, 10**4), st.integers(0, 10**4))
def test_go_is_told_the_same_duration_without_days_and_weeks(w: int, d: int, ms: int) -> None:
    """time.ParseDuration knows ms, s, m and h."""
    text = f"{w}w{d}d{ms}ms"
    spelled = go_duration(text)
    assert "w" not in spelled
    assert "d" not in spelled
    assert parse_duration(spelled) == parse_duration(text)


@pytest.mark.parametrize("text", ["200ms", "1h30m", "30s"])
def test_a_duration_that_go_knows_stays_as_it_is(text: str) -> None:
    """The rendered file shows what the settings say."""
    assert go_duration(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10B", 10),
        ("512KiB", 524_288),
        ("64MiB", 67_108_864),
        ("1GiB", 1_073_741_824),
        ("2TiB", 2_199_023_255_552),
    ],
)
def test_a_size_is_read(text: str, expected: int) -> None:
    """Binary units, in bytes."""
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "1", "1GB", "1gib", "1 GiB", "-1MiB", "1.5GiB", "٣KiB", "1k"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """A decimal unit would be taken for a binary one by one component and not by another."""
    with pytest.raises(ValueError, match=r"^a size such as 512KiB, 64MiB or 1GiB$"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1_048_575, "1 MiB"),
        (1_300_000, "1.2 MiB"),
        (5 * 1024**4, "5 TiB"),
        (5000 * 1024**4, "5000 TiB"),
    ],
)
def test_a_size_is_written_for_people(size: int, text: str) -> None:
    """With one decimal at most, in the largest unit below it."""
    assert format_bytes(size) == text
