"""Text for terminals and JSON for programs, safe for any value."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import orjson

# C0 and C1 control characters and DEL: a log line must not control the reader's terminal. And lone
# surrogates, which no encoding can represent.
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def visible(text: str, keep: str = "") -> str:
    r"""Control characters escaped as in `\x1b`, except those in `keep`."""
    return CONTROLS.sub(lambda match: match[0] if match[0] in keep else repr(match[0])[1:-1], text)


def as_json(value: object, *, indent: int | None = None, only_ascii: bool = False) -> str:
    """JSON in which every control character is escaped; on one line without `indent`.

    Values of other types, such as times, are written as strings.
    """
    return _escaped(json.dumps(value, ensure_ascii=only_ascii, indent=indent, default=str))


def as_json_line(record: Mapping[str, object]) -> str:
    """The same of a record, compact, five times as fast."""
    try:
        return _escaped(orjson.dumps(record).decode())
    except TypeError:  # lone surrogates
        return as_json(record)


def _escaped(text: str) -> str:
    return CONTROLS.sub(
        lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text
    )
