"""The base of every table of settings, and the kinds of text that several tables use."""

from __future__ import annotations

import re
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    """A table of settings: frozen, exact types, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def match(pattern: str, expected: str) -> AfterValidator:
    """A check of a whole text. Errors say what is `expected` and do not show the pattern."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(expected)
        return text

    return AfterValidator(check)


def _check_port(number: int) -> int:
    if not 1 <= number <= 65535:
        raise ValueError("a port between 1 and 65535")
    return number


def _check_timezone(name: str) -> str:
    try:
        known = name == "UTC" or bool(ZoneInfo(name))  # UTC also where no time zones are installed
    except (KeyError, ValueError, OSError):
        known = False
    if not known:
        raise ValueError("the name of a time zone, such as Europe/Berlin or UTC")
    return name


_SERVICE = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
_SERVICE_WORDS = (
    "letters, digits, `_`, `.` and `-`, beginning with a letter or digit, at most 63 characters"
)
_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_BUCKET_WORDS = "a bucket's name: 3 to 63 lower-case letters, digits, `.` and `-`"

TimeZone = Annotated[str, AfterValidator(_check_timezone)]
PortNumber = Annotated[int, AfterValidator(_check_port)]
ServiceName = Annotated[str, match(_SERVICE, f"a name of {_SERVICE_WORDS}")]
OptionalServiceName = Annotated[str, match(f"({_SERVICE})?", f"a name of {_SERVICE_WORDS}, or ''")]
Bucket = Annotated[str, match(_BUCKET, _BUCKET_WORDS)]
OptionalBucket = Annotated[str, match(f"({_BUCKET})?", f"{_BUCKET_WORDS}, or ''")]
Endpoint = Annotated[
    str,
    match(
        r"(https?://[^\s/]+)?", "an address without a path, such as https://s3.example.com, or ''"
    ),
]
