"""JSON encoders that give the same parsed record: orjson when it is installed, else the stdlib."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Encoder = Callable[[Any], bytes]

_stdlib = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
).encode


def encode_stdlib(value: Any) -> bytes:
    """`value` as compact UTF-8 JSON. ValueError on NaN or a lone surrogate, TypeError otherwise."""
    return _stdlib(value).encode()


try:
    import orjson
except ImportError:  # the optional extra is not installed
    encode: Encoder = encode_stdlib
    HAVE_ORJSON = False
else:
    encode = orjson.dumps
    HAVE_ORJSON = True


def escape_line_separators(line: bytes) -> bytes:
    """`line` with the Unicode line separators escaped.

    JSON allows them raw, yet readers that split text into lines (Python's str.splitlines, some
    log viewers) would cut the record in two.
    """
    if line.isascii():
        return line
    return (
        line.replace(b"\xe2\x80\xa8", b"\\u2028")
        .replace(b"\xe2\x80\xa9", b"\\u2029")
        .replace(b"\xc2\x85", b"\\u0085")
    )
