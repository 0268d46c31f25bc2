"""Times as users type them (`5m` ago, `2026-01-31T10:30+01:00`, `now`) and as records have them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from stack.settings.units import parse_duration

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Clock = Callable[[], datetime]
"""Returns the current time."""


def utc_now() -> datetime:
    """The current time of this machine's clock, in UTC."""
    return datetime.now(UTC)


def parse_moment(text: str, now: datetime | None = None) -> datetime:
    """An aware datetime; a time without an offset is local. Raises ValueError."""
    now = now or utc_now()
    if text == "now":
        return now
    try:
        return now - parse_duration(text)
    except (ValueError, OverflowError):
        pass
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise ValueError(
            "expected a duration such as 5m or 2h, or a time such as 2026-01-31 or "
            f"2026-01-31T10:30, got {text!r}"
        ) from None


def nanoseconds(moment: datetime) -> int:
    """Nanoseconds since the epoch of an aware datetime, exactly."""
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def format_time(moment: datetime) -> str:
    """An aware datetime as records have it: RFC 3339 in UTC, with six digits."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def rfc3339(time: int) -> str:
    """Nanoseconds since the epoch as records have a time."""
    return format_time(EPOCH + timedelta(microseconds=time // 1000))


def to_local(text: str) -> str:
    """A record's UTC timestamp in local time, with milliseconds and offset."""
    try:
        moment = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        return text
    offset = moment.strftime("%z")
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}{offset[:3]}:{offset[3:]}"
