"""Text and JSON that a terminal and a program can take, whatever the values hold."""

from __future__ import annotations

import json
import re

# C0 and C1 controls, DEL: a log line must not be able to drive the reader's terminal. And halves of
# characters, which no encoding has.
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def visible(text: str, keep: str = "") -> str:
    r"""Control characters as `\x1b` and the like, but for those to `keep`."""
    return CONTROLS.sub(lambda match: match[0] if match[0] in keep else repr(match[0])[1:-1], text)


def as_json(value: object, *, indent: int | None = None, only_ascii: bool = False) -> str:
    """JSON without the controls that JSON itself would leave in it; on one line without `indent`.

    What JSON does not know, such as a time, is written as its text.
    """
    text = json.dumps(value, ensure_ascii=only_ascii, indent=indent, default=str)
    return CONTROLS.sub(
        lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text
    )
