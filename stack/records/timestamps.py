"""Moments as people type them: `5m` (ago), `2026-01-31`, `2026-01-31T10:30+01:00`, `now`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from stack.settings.units import parse_duration

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_moment(text: str, now: datetime | None = None) -> datetime:
    """An aware moment. A time without an offset is local. Raises ValueError (what was wanted)."""
    now = now or datetime.now(UTC)
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
            f"wanted a duration such as 5m or 2h, or a time such as 2026-01-31 or "
            f"2026-01-31T10:30, found {text!r}"
        ) from None


def nanoseconds(moment: datetime) -> int:
    """Nanoseconds since the epoch, exactly; the moment is aware."""
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def rfc3339(time: int) -> str:
    """Nanoseconds since the epoch as the contract writes a time: UTC, with six digits."""
    moment = EPOCH + timedelta(microseconds=time // 1000)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def local(text: str) -> str:
    """A record's UTC timestamp in local time, milliseconds and offset shown."""
    try:
        moment = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        return text
    offset = moment.strftime("%z")
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}{offset[:3]}:{offset[3:]}"
