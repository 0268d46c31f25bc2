"""The base of every table of settings, and the kinds of text that several tables use."""

from __future__ import annotations

import re
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    """A table of settings: frozen, exact types, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


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


def _check_pattern(path: str) -> str:
    """A glob as the agents read it: classes, alternatives, and `\\` before a literal character."""
    if not path.startswith("/"):
        raise ValueError("an absolute path")
    if path.endswith("/"):
        raise ValueError("the path of a file or a pattern of files, not a folder")
    plain = re.sub(r"(?s)\\.", "", path)
    left = re.sub(r"\[[^\]]+\]", "", plain)
    while (shorter := re.sub(r"\{[^{}]*\}", "", left)) != left:
        left = shorter
    if re.search(r"[\[\]{}]", left):
        raise ValueError("a pattern whose brackets are closed; write \\[ for one in a name")
    return path


def _check_secret_file(text: str) -> str:
    """A secret in place of the path to its file would be printed and rendered."""
    if text and ("://" in text or "/" not in text):
        raise ValueError("the path of a file that holds the secret, with a `/`, or ''")
    return text


_SERVICE = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
_SERVICE_WORDS = (
    "letters, digits, `_`, `.` and `-`, beginning with a letter or digit, at most 63 characters"
)
_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_BUCKET_WORDS = "a bucket's name: 3 to 63 lower-case letters, digits, `.` and `-`"

FilePattern = Annotated[str, AfterValidator(_check_pattern)]
SecretFile = Annotated[str, AfterValidator(_check_secret_file)]
Folder = Annotated[
    str, match(r"(?s:(?!~)[^\0\n]*)", "a path in one line that does not begin with `~`")
]
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
