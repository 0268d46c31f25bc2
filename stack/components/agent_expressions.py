"""Expressions for the collector's template that decide how to parse a JSON line.

A plain line is recognised by a few searches in its text and parsed once; others are checked name by
name. The language of expressions: https://expr-lang.org.
"""

from __future__ import annotations

import json
from datetime import timedelta

from stack.records.contract import LEVELS, LOG_FILE, names, reserved_names

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


def trimmed() -> str:
    """The line without what may stand around an object: blanks, a byte order mark, NULs."""
    return 'trim(body, " \\t\\r\\ufeff\\u0000")'


def is_one_object() -> str:
    """Whether the brackets of a line are those of one JSON object that is not too deep."""
    return f"body matches {one_object()}"


def one_object() -> str:
    return _text(nesting(MOST_NESTED))


def nesting(most: int) -> str:
    """A regular expression for an object with at most `most` levels of objects and lists.

    It is anchored and never ambiguous, so that Go needs one pass.
    """
    inside = r'[^"\[\]{}]|"(?:[^"\\]|\\.)*"'
    pattern = f"(?:{inside})*"
    for _ in range(most - 1):
        pattern = rf"(?:{inside}|[\[{{]{pattern}[\]}}])*"
    return rf"^\{{{pattern}\}}\s*$"


def is_complete(window: str) -> str:
    """Whether a parsed plain line is a record of the contract, which needs no change.

    One that does not begin as logstack_django's do may have names that are too long, and integers
    beyond 64 bits: they are parsed as floats, and their digits would be lost.
    """
    placed = ("service_name", "environment")
    labels = " and ".join(f'(attributes.{name} ?? "") != ""' for name in placed)
    own = r'^\{"timestamp":"[^"]*","level":"[A-Z]*","logger_name":"'
    exact = 'none(values(attributes), type(#) == "float" and (# > 9.2e18 or # < -9.2e18))'
    return (
        f"{labels} and string(attributes.level) in {json.dumps(LEVELS)} "
        f"and attributes.timestamp != nil and attributes.message != nil and {window} "
        f"and (body matches {_text(own)} "
        f"or ({exact} and none(keys(attributes), len(#) > 31)))"
    )


def in_window(past: timedelta, ahead: timedelta) -> str:
    """Whether the engine accepts the time of a record; false for a record without one."""
    return (
        f'(timestamp > now() - duration("{past.total_seconds():.0f}s") '
        f'and timestamp < now() + duration("{ahead.total_seconds():.0f}s"))'
    )


def _text(value: str) -> str:
    """A literal of the language, which has the escapes of JSON."""
    return json.dumps(value)
