"""Durations and sizes as people write them: `200ms`, `1GiB`. For the settings and the CLI."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator

_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}


def parse_duration(text: str) -> timedelta:
    """`90s`, `1h30m`, `200ms` as a timedelta. Raises ValueError, which says what was wanted."""
    parts = re.findall(r"(\d+)(ms|s|m|h|d|w)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("a duration such as 200ms, 30s, 5m, 1h30m or 7d")
    return timedelta(milliseconds=sum(int(n) * _MILLISECONDS[unit] for n, unit in parts))


def parse_bytes(text: str) -> int:
    """`512KiB`, `1GiB` as a number of bytes. Raises ValueError, which says what was wanted."""
    match = re.fullmatch(r"(\d+)(B|KiB|MiB|GiB|TiB)", text)
    if not match:
        raise ValueError("a size such as 512KiB, 64MiB or 1GiB")
    return int(match[1]) * _BYTES[match[2]]


def _checked_duration(text: str) -> str:
    parse_duration(text)
    return text


def _checked_bytes(text: str) -> str:
    parse_bytes(text)
    return text


# Kept as the text that was written, because that is what the components' own files take.
Duration = Annotated[str, AfterValidator(_checked_duration)]
Bytes = Annotated[str, AfterValidator(_checked_bytes)]
