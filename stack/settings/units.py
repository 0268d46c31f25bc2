"""Durations, sizes and addresses as text: `200ms`, `1GiB`, `[::1]:80`."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
_HOURS = {"d": 24, "w": 168}
_DURATION_WORDS = "a duration such as 200ms, 30s, 5m, 1h30m or 7d"
_BYTES_WORDS = "a size such as 512KiB, 64MiB or 1GiB"


def parse_duration(text: str) -> timedelta:
    """`90s`, `1h30m`, `200ms` as a timedelta. Raises ValueError, which says what is expected."""
    parts = re.findall(r"([0-9]{1,18})(ms|s|m|h|d|w)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(_DURATION_WORDS)
    try:
        return timedelta(milliseconds=sum(int(n) * _MILLISECONDS[unit] for n, unit in parts))
    except OverflowError:
        raise ValueError(_DURATION_WORDS) from None


def to_hours(text: str) -> int:
    """A duration in hours, rounded up."""
    return -int(-parse_duration(text) // timedelta(hours=1))


def go_duration(text: str) -> str:
    """A duration in Go's spelling, which has neither days nor weeks: `1d12h` as `24h12h`."""
    return re.sub(r"(\d+)([dw])", lambda m: f"{int(m[1]) * _HOURS[m[2]]}h", text)


def parse_bytes(text: str) -> int:
    """`512KiB`, `1GiB` as a number of bytes. Raises ValueError, which says what is expected."""
    match = re.fullmatch(r"([0-9]{1,18})(B|KiB|MiB|GiB|TiB)", text)
    if not match:
        raise ValueError(_BYTES_WORDS)
    return int(match[1]) * _BYTES[match[2]]


def format_bytes(size: float) -> str:
    """A number of bytes for people: `512 B`, `1.2 MiB`, `3 GiB`."""
    units = list(_BYTES)
    while abs(size) >= 1023.95 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.1f}".removesuffix(".0") + f" {units[0]}"


def is_ip_address(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def canonical_address(text: str) -> str:
    """An IP address in canonical spelling, `2001:DB8:0::1` as `2001:db8::1`; other text as is."""
    return str(ipaddress.ip_address(text)) if is_ip_address(text) else text


def join_host_port(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_duration(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(_DURATION_WORDS)
    parse_duration(value)
    return value


def _check_bytes(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(_BYTES_WORDS)
    parse_bytes(value)
    return value


# Kept as text, because components' configuration files take the same spelling.
Duration = Annotated[str, BeforeValidator(_check_duration)]
Bytes = Annotated[str, BeforeValidator(_check_bytes)]


def between(lowest: str, highest: str = "") -> AfterValidator:
    """A check that a Duration or a Bytes is in a range; without `highest` it has no end."""
    is_size = lowest.endswith("B")
    parse = parse_bytes if is_size else parse_duration
    kind = "a size" if is_size else "a duration"
    words = f"between {lowest} and {highest}" if highest else f"of at least {lowest}"

    def check(text: str) -> str:
        value: Any = parse(text)
        if value < parse(lowest) or (highest and value > parse(highest)):
            raise ValueError(f"{kind} {words}")
        return text

    return AfterValidator(check)


def parse_go_duration(text: str) -> timedelta:
    """A duration as a Go program prints it, also with days, weeks and years: `4w2d`, `720h0m0s`."""
    hours = {"s": 1 / 3600, "m": 1 / 60, "h": 1, "d": 24, "w": 168, "y": 8760}
    parts = re.findall(r"(\d+)([smhdwy])", text)
    return timedelta(hours=sum(int(number) * hours[unit] for number, unit in parts))
