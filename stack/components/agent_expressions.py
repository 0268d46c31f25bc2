"""Expressions for the collector's template that decide how to parse a JSON line.

A plain line is recognised by a few searches in its text and parsed once; others are checked name by
name. The language of expressions: https://expr-lang.org.
"""

from __future__ import annotations

import json
from datetime import timedelta

from stack.records.contract import ASIDE, LOG_FILE, names, reserved_names

# The depth to which nested objects and lists are parsed; deeper lines stay text. The collector's
# queue loses records that it cannot decode: its limit is 32 nested objects, or 49 lists.
MOST_NESTED = 30
# A line with fewer opening brackets needs no check of its depth.
FEW_LISTS = 20


def is_plain() -> str:
    """Whether a line can be parsed directly: one object, few lists, and no name of the file."""
    return (
        'body startsWith "{" and body endsWith "}" and not (trimPrefix(body, "{") contains "{") '
        f'and (not (body contains "[") or len(split(body, "[", {FEW_LISTS})) < {FEW_LISTS}) '
        'and not (body contains "\\uFFFD" or body contains ".file." or body contains "\\\\u002e")'
    )


def has_no_reserved_name() -> str:
    """Whether a parsed plain line needs no renaming: no reserved names, no label with a list."""
    others = (name for name in reserved_names() if name != LOG_FILE)
    lists = (f'type(attributes.{name}) != "array"' for name in names("label"))
    no_list = f'(not (body contains "[") or {" and ".join(lists)})'
    return " and ".join([*(f"attributes[{_text(name)}] == nil" for name in others), no_list])


def is_one_object() -> str:
    """Whether the brackets of a line are those of one JSON object that is not too deep."""
    return f"body matches {_text(nesting(MOST_NESTED))}"


def nesting(most: int) -> str:
    """A regular expression for an object with at most `most` levels of objects and lists.

    It is anchored and never ambiguous, so that Go needs one pass.
    """
    inside = r'[^"\[\]{}]|"(?:[^"\\]|\\.)*"'
    pattern = f"(?:{inside})*"
    for _ in range(most - 1):
        pattern = rf"(?:{inside}|[\[{{]{pattern}[\]}}])*"
    return rf"^\{{{pattern}\}}\s*$"


def as_fields(record: str) -> str:
    """The JSON text of a parsed object without reserved names and without objects as values.

    A reserved name gets the prefix that logstack_django uses. An object becomes its JSON text: as
    fields, free keys would add up until the engine drops records (2000 names in a block).
    """
    taken = f"#[0] in {json.dumps(reserved_names())}"
    labels = f"#[0] in {json.dumps(names('label'))}"
    unfit = f'({taken} or ({labels} and type(#[1]) in ["map", "array"]))'
    name = f"toJSON({unfit} ? {_text(ASIDE)} + #[0] : #[0])"
    value = f'(type(#[1]) in ["map", "array"] ? toJSON({_compact("#[1]")}) : toJSON(#[1]))'
    pairs = f'join(map(toPairs({record}), {name} + ":" + {value}), ",")'
    odd = f'any(toPairs({record}), type(#[1]) in ["map", "array"] or {taken})'
    return f'({record} != nil and {odd}) ? "{{" + {pairs} + "}}" : body'


def in_window(past: timedelta, ahead: timedelta) -> str:
    """Whether the engine accepts the time of a record; false for a record without one."""
    return (
        f'(timestamp > now() - duration("{past.total_seconds():.0f}s") '
        f'and timestamp < now() + duration("{ahead.total_seconds():.0f}s"))'
    )


def _compact(value: str) -> str:
    """A value's JSON without spaces, and with `<`, `>` and `&` unescaped.

    `toJSON` writes one name or value per line and escapes those three.
    """
    text = f"toJSON({value})"
    steps = [
        ("\\\\", "\x01"),  # so that the next steps see complete escapes
        ('\\": ', "\x02"),
        ('": ', '":'),
        ("\x02", '\\": '),
        ("\\u003c", "<"),
        ("\\u003e", ">"),
        ("\\u0026", "&"),
        ("\x01", "\\\\"),
    ]
    for old, new in steps:
        text = f"replace({text}, {_text(old)}, {_text(new)})"
    return f'join(map(split({text}, "\\n"), trim(#)), "")'


def _text(value: str) -> str:
    """A literal of the language, which has the escapes of JSON."""
    return json.dumps(value)
