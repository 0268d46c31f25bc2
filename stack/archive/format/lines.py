"""One stored record as one line of NDJSON, and back. Engines make these lines and take them back.

    {"ts_ns":"1769855401123456000","labels":{...},"metadata":{...},"line":"..."}

`line` is what the engine keeps as the line or message, never written anew; a byte that is no UTF-8
is kept as that byte. Lines of equal records are equal, and their order as bytes is that of time.
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
        beside, text = orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS), orjson.dumps(line)
    except TypeError:  # bytes that were no UTF-8
        beside, text = dump(metadata), dump(line)
    return b'{"ts_ns":"%b","labels":%b,"metadata":%b,"line":%b}' % (ts_ns, labels, beside, text)


def decode(line: bytes) -> Stored:
    """The record of a line. Raises ValueError for something else."""
    try:
        values = load(line)
        return Stored(int(values["ts_ns"]), values["labels"], values["metadata"], values["line"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"wanted a line of the archive, found {line[:80]!r}") from error


def dump(value: object) -> bytes:
    """Compact JSON with sorted names; bytes that were no UTF-8 come out as they were."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return text.encode("utf-8", "surrogateescape")


def load(line: bytes) -> dict[str, Any]:
    """A JSON object; a byte that is no UTF-8 becomes a surrogate that `dump` turns back."""
    try:
        return orjson.loads(line)  # type: ignore[no-any-return]
    except ValueError:
        values = json.loads(line.decode("utf-8", "surrogateescape"))
        if not isinstance(values, dict):
            raise ValueError("wanted a JSON object") from None
        return values


def load_all(block: bytes) -> Iterable[dict[str, Any]]:
    """The JSON objects of lines, all at once where that can be done."""
    try:
        return orjson.loads(b"[%b]" % block.replace(b"\n", b","))  # type: ignore[no-any-return]
    except ValueError:  # a byte that is no UTF-8, an empty line
        return map(load, filter(None, block.split(b"\n")))


def stream_key(labels: Mapping[str, str]) -> bytes:
    """The labels as JSON: what records are counted by."""
    return dump({name: value for name, value in labels.items() if value != ""})


def timestamp(line: bytes) -> int:
    """The time of a line, without parsing it."""
    return int(line[10:29])


def stream(line: bytes) -> bytes:
    """The labels of a line as they stand in it, without parsing it."""
    return line[40 : line.index(b',"metadata":{', 40)]


def parse_ns(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time in UTC with up to nine decimals."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return _seconds(whole) * 1_000_000_000 + (int(f"{fraction:0<9}"[:9]) if fraction else 0)


def format_ns(ts_ns: int) -> str:
    """RFC 3339 with nine decimals."""
    seconds, rest = divmod(ts_ns, 1_000_000_000)
    return f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


@lru_cache(maxsize=4096)
def _seconds(whole: str) -> int:
    return int((datetime.fromisoformat(f"{whole}+00:00") - EPOCH).total_seconds())
