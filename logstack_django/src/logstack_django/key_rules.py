"""Which values the fast path may write as they are, decided once per key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from logstack_django.fields import (
    CONTEXT_FIELDS,
    EVENT_FIELDS,
    ID,
    INTEGER,
    NUMBER,
    OWNED_FIELDS,
    TEXT,
)
from logstack_django.records import FIELDS_ATTRIBUTE, LINE_ATTRIBUTE, PLAIN_TYPES, STANDARD_NAMES
from logstack_django.redaction import Redactor
from logstack_django.sanitize import MAX_KEY
from logstack_django.sources.registry import HIDDEN

LAST = len(EVENT_FIELDS)
_MAX_RULES = 4096  # keys may come from a client
_EVENT_TYPES: dict[str, frozenset[type]] = {
    TEXT: frozenset({str}),
    ID: frozenset({int, str}),
    NUMBER: frozenset({int, float}),
    INTEGER: frozenset({int}),
}
# Keys that the full path renames, hides, or puts into another place.
_SPECIAL_KEYS = OWNED_FIELDS | CONTEXT_FIELDS.keys()
_SPECIAL_KEYS |= {FIELDS_ATTRIBUTE, LINE_ATTRIBUTE, "extra"}


@dataclass(frozen=True, slots=True)
class KeyRule:
    """What the fast path may do with the values under one key."""

    types: frozenset[type]  # of the values that it takes
    hidden: bool = False  # no field
    place: int = LAST  # among the event fields of the contract, from 0; LAST for every other key
    is_id: bool = False  # text may have to become an integer


_FULL_PATH_ONLY = KeyRule(frozenset())
_HIDDEN = KeyRule(frozenset(), hidden=True)
_OTHER = KeyRule(PLAIN_TYPES)
_EVENT_RULES = {
    name: KeyRule(_EVENT_TYPES[kind], place=place, is_id=kind == ID)
    for place, (name, kind) in enumerate(EVENT_FIELDS.items())
}


class KeyRules(dict[Any, KeyRule]):
    """The rule of every key: `rules[key]`, kept for the next record."""

    def __init__(self, redactor: Redactor | None) -> None:
        super().__init__()
        self._redactor = redactor

    def __missing__(self, key: Any) -> KeyRule:
        if len(self) > _MAX_RULES:
            self.clear()
        rule = self[key] = self._decide(key)
        return rule

    def allows_nested(self, key: Any) -> bool:
        """Whether values under `key` are no secrets, in a dict."""
        return bool(self[key].types)

    def allows_other(self, key: Any) -> bool:
        """Whether `key` is not a field of the contract, and can be written as it is."""
        return self[key] is _OTHER

    def _decide(self, key: Any) -> KeyRule:
        if type(key) is not str or not 0 < len(key) <= MAX_KEY or not key.isascii():
            return _FULL_PATH_ONLY
        if key in HIDDEN or key in STANDARD_NAMES:  # a second formatter's `message`
            return _HIDDEN
        if key in _SPECIAL_KEYS:
            return _FULL_PATH_ONLY
        redactor = self._redactor
        if redactor is not None and (redactor.is_secret_key(key) or redactor.may_hold_secret(key)):
            return _FULL_PATH_ONLY
        return _EVENT_RULES.get(key, _OTHER)
