"""Converts a stored record to a line of NDJSON and back, for export and restore.

    {"ts_ns":"1769855401123456000","labels":{...},"metadata":{...},"line":"..."}

`line` is the engine's line or message, unchanged; an invalid UTF-8 byte is kept as that byte. Lines
of equal records are equal, and lines sorted as bytes are sorted by time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from stack.records.timestamps import EPOCH


class Stored(NamedTuple):
    """A record as an engine stores it: nanoseconds since the epoch, and text."""

    ts_ns: int
    labels: dict[str, str]
    metadata: dict[str, str]
    line: str


def encode(ts_ns: bytes, labels: bytes, metadata: Mapping[str, str], line: str) -> bytes:
    """The line, without a line break. `ts_ns` has 19 digits, `labels` comes from `stream_key`."""
    try:
        extra, text = orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS), orjson.dumps(line)
    except TypeError:  # invalid UTF-8
        extra, text = dump(metadata), dump(line)
    return b'{"ts_ns":"%b","labels":%b,"metadata":%b,"line":%b}' % (ts_ns, labels, extra, text)


def decode(line: bytes) -> Stored:
    """The record of a line. Raises ValueError for anything else."""
    try:
        values = load(line)
        return Stored(int(values["ts_ns"]), values["labels"], values["metadata"], values["line"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"expected a line of the archive, got {line[:80]!r}") from error


def dump(value: object) -> bytes:
    """Compact JSON with sorted names; surrogates of `load` become their bytes again."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return text.encode("utf-8", "surrogateescape")


def load(line: bytes) -> dict[str, Any]:
    """A JSON object; an invalid UTF-8 byte becomes a surrogate, which `dump` turns back."""
    try:
        return orjson.loads(line)  # type: ignore[no-any-return]
    except ValueError:
        values = json.loads(line.decode("utf-8", "surrogateescape"))
        if not isinstance(values, dict):
            raise ValueError("expected a JSON object") from None
        return values


def load_all(block: bytes) -> Iterable[dict[str, Any]]:
    """The JSON objects of lines, parsed at once where possible."""
    try:
        return orjson.loads(b"[%b]" % block.replace(b"\n", b","))  # type: ignore[no-any-return]
    except ValueError:  # invalid UTF-8, or an empty line
        return map(load, filter(None, block.split(b"\n")))


def stream_key(labels: Mapping[str, str]) -> bytes:
    """The labels as JSON, by which records are counted."""
    return dump({name: value for name, value in labels.items() if value != ""})


def timestamp(line: bytes) -> int:
    """The time of a line, without parsing it."""
    return int(line[10:29])


def stream(line: bytes) -> bytes:
    """The labels of a line as JSON, without parsing it."""
    return line[40 : line.index(b',"metadata":{', 40)]


def count(line: bytes, counts: dict[str, int]) -> None:
    """Add a line to the counts by stream."""
    key = stream(line).decode("utf-8", "replace")
    counts[key] = counts.get(key, 0) + 1


def parse_ns(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time in UTC with up to nine decimals."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return _seconds(whole) * 1_000_000_000 + (int(f"{fraction:0<9}"[:9]) if fraction else 0)


def format_ns(ts_ns: int) -> str:
    """RFC 3339 with nine decimals."""
    seconds, rest = divmod(ts_ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest:09d}Z"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}"


@lru_cache(maxsize=4096)
def _seconds(whole: str) -> int:
    return int((datetime.fromisoformat(f"{whole}+00:00") - EPOCH).total_seconds())
