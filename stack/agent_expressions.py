"""Expressions of the collector that decide what becomes of a JSON line; its template names them.

A plain line is known by a few searches of its text and is parsed once. Every other line is looked
at name by name. Expressions are in the language of https://expr-lang.org.
"""

from __future__ import annotations

import json
from datetime import timedelta

from stack.contract import ASIDE, LOG_FILE, names, reserved_names

# Objects and lists inside each other that are taken apart; deeper ones stay text. The collector's
# queue loses what it cannot decode: 32 objects in each other are its limit, or 49 lists.
MOST_NESTED = 30
# Opening brackets up to which a line with one object is not looked at closely: they may be nested.
FEW_LISTS = 20


def is_plain() -> str:
    """Whether a line may be parsed at once: one object, few lists, and not the file's own name."""
    return (
        'body startsWith "{" and body endsWith "}" and not (trimPrefix(body, "{") contains "{") '
        f'and (not (body contains "[") or len(split(body, "[", {FEW_LISTS})) < {FEW_LISTS}) '
        'and not (body contains "\\uFFFD" or body contains ".file." or body contains "\\\\u002e")'
    )


def has_no_reserved_name() -> str:
    """Whether a plain line that was parsed has nothing that is moved aside: such a name, a label
    that is a list."""
    others = (name for name in reserved_names() if name != LOG_FILE)
    lists = (f'type(attributes.{name}) != "array"' for name in names("label"))
    no_list = f'(not (body contains "[") or {" and ".join(lists)})'
    return " and ".join([*(f"attributes[{_text(name)}] == nil" for name in others), no_list])


def is_one_object() -> str:
    """Whether a line is one JSON object, as far as brackets go, and not too deep."""
    return f"body matches {_text(nesting(MOST_NESTED))}"


def nesting(most: int) -> str:
    """A regular expression for an object with at most `most` objects and lists in each other.

    It is anchored and each character leaves one way to go on, so that Go needs one pass.
    """
    inside = r'[^"\[\]{}]|"(?:[^"\\]|\\.)*"'
    pattern = f"(?:{inside})*"
    for _ in range(most - 1):
        pattern = rf"(?:{inside}|[\[{{]{pattern}[\]}}])*"
    return rf"^\{{{pattern}\}}\s*$"


def as_fields(record: str) -> str:
    """The JSON text of a parsed object in which no name is reserved and no value an object.

    A reserved name gets the prefix of logstack_django. An object becomes its JSON text: as fields,
    the names of free keys would add up until the engine drops records (2000 names in a block).
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
    """Whether the time of a record is one that the engine takes; no time at all is none."""
    return (
        f'(timestamp > now() - duration("{past.total_seconds():.0f}s") '
        f'and timestamp < now() + duration("{ahead.total_seconds():.0f}s"))'
    )


def _compact(value: str) -> str:
    """A value's JSON without blanks, and with `<`, `>` and `&` as they are.

    `toJSON` writes one name or value a line and escapes those three.
    """
    text = f"toJSON({value})"
    steps = [
        ("\\\\", "\x01"),  # so that what follows finds whole escapes
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
    """A literal of the language, whose escapes are those of JSON."""
    return json.dumps(value)


__all__ = ["as_fields", "has_no_reserved_name", "in_window", "is_one_object", "is_plain", "nesting"]
