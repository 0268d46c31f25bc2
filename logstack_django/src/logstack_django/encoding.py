"""JSON encoders that give the same parsed record: orjson when it is installed, else the stdlib."""

from __future__ import annotations

import json
import re
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


# DEL, C1 controls, line separators, signs that change the direction of text.
_UNSEEN = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]"
)


def escape_unseen(line: bytes) -> bytes:
    """`line` with characters escaped that JSON allows raw, but that would cut the record in two for
    readers that split text into lines, or control a terminal that shows it."""
    if line.isascii() and 127 not in line:
        return line
    return _UNSEEN.sub(lambda match: b"\\u%04x" % ord(match[0].decode()), line)
