"""Reads what nearly every record has: short plain values that hold no secret, as they are."""

from __future__ import annotations

import datetime
import decimal
import logging
import math
import uuid
from collections.abc import Callable
from itertools import islice
from typing import Any

from logstack_django.encoding import Encoder
from logstack_django.field_split import MAX_FIELDS, in_order
from logstack_django.key_rules import LAST, KeyRules
from logstack_django.records import PLAIN_TYPES, STANDARD_COUNT, STANDARD_LAST
from logstack_django.redaction import Redactor
from logstack_django.sanitize import MAX_ITEMS, MAX_STRING
from logstack_django.secret_tokens import CARD_INT_MIN
from logstack_django.text import iso_text

# Nested names of this length, joined with dots, are shorter than the longest name.
_SHORT_NAME = 24
_DEPTH = 3
_MOST_MEMBERS = 256
_MOST_MESSAGES = 1024
_SHORT_MESSAGE = 256
_READERS: dict[type, Callable[[Any], str]] = {
    decimal.Decimal: str,
    uuid.UUID: str,
    datetime.datetime: iso_text,
    datetime.date: iso_text,
}
_NO_FIELDS: dict[str, Any] = {}
# The message as JSON, and the fields.
Draft = tuple[bytes, dict[str, Any]]


class PlainReader:
    """Reads records with plain values; the sanitizer reads all others."""

    def __init__(self, encode: Encoder, redactor: Redactor | None, rules: KeyRules) -> None:
        self._encode = encode
        self._may_hold = redactor.may_hold_secret if redactor is not None else _hold_none
        self._is_changed = redactor.is_changed if redactor is not None else _hold_none
        self._rules = rules
        # Messages without arguments that hold no secret, as JSON: most of them are constants.
        self._messages: dict[str, bytes] = {}

    def read(self, record: logging.LogRecord) -> Draft | None:
        """None if something in the record needs the sanitizer. Raises TypeError, ValueError or
        ArithmeticError where arguments do not fit, or text cannot be encoded."""
        message = record.msg
        if type(message) is not str:
            return None
        args = record.args
        if args:
            if type(args) is not tuple:
                return None
            for value in args:
                if type(value) not in PLAIN_TYPES:
                    return None
            message = text = message % args
            encoded = None
        else:
            encoded = self._messages.get(message)
            text = message if encoded is None else ""
        fields = _NO_FIELDS
        attributes = record.__dict__
        if len(attributes) != STANDARD_COUNT or next(reversed(attributes)) != STANDARD_LAST:
            texts = [text] if text else []
            added = self._read_extras(attributes, texts)
            if added is None:
                return None
            fields = added
            text = "\n".join(texts)
        if text and (len(text) > MAX_STRING or (self._may_hold(text) and self._is_changed(text))):
            return None
        if encoded is None:
            encoded = self._encode(message)
            if not args and len(message) < _SHORT_MESSAGE:
                if len(self._messages) > _MOST_MESSAGES:
                    self._messages.clear()
                self._messages[message] = encoded
        return encoded, fields

    def _read_extras(self, attributes: dict[str, Any], texts: list[str]) -> dict[str, Any] | None:
        """The fields that the caller added; their text is added to `texts`."""
        added = islice(attributes.items(), STANDARD_COUNT - 1, None)
        if next(added, ("", None))[0] != STANDARD_LAST:
            return None
        rules = self._rules
        fields: dict[str, Any] = {}
        left = [_MOST_MEMBERS]
        last_place, ordered = 0, True
        for key, value in added:
            if value is None:
                continue
            rule = rules[key]
            kind = type(value)
            if kind not in rule.types:
                if rule.hidden:
                    continue
                if rule.place != LAST or not rule.types:
                    return None
                read = _READERS.get(kind)
                if read is not None:
                    value = read(value)
                elif not self._is_plain(key, value, texts, left, 0):
                    return None
            elif kind is str:
                if not value:
                    continue
                if rule.is_id and value[0] in "0123456789-":
                    return None
                texts.append(value)
            elif kind is int:
                if not -CARD_INT_MIN < value < CARD_INT_MIN:
                    return None
            elif kind is float and not math.isfinite(value):
                return None
            fields[key] = value
            ordered = ordered and last_place <= rule.place
            last_place = rule.place
        if len(fields) > MAX_FIELDS:
            return None
        return fields if ordered else in_order(fields)

    def _is_plain(
        self, key: str, value: Any, texts: list[str], left: list[int], depth: int
    ) -> bool:
        """Whether a container is small and has only plain values; adds its text to `texts`.
        `left` holds how many members there may still be."""
        if len(key) > _SHORT_NAME:
            return False
        members: Any = value
        if type(value) is dict:
            for name in value:
                if type(name) is not str or not self._rules.allows_nested(name):
                    return False
                if len(name) > _SHORT_NAME:
                    return False
            members = value.values()
        elif type(value) is not list or (len(value) == 2 and type(value[0]) is str):
            return False  # such a pair may be a name and its secret
        left[0] -= len(value)
        if left[0] < 0 or len(value) > MAX_ITEMS:  # the sanitizer may cut it
            return False
        for member in members:
            kind = type(member)
            if kind is str:
                texts.append(member)
            elif kind is int:
                if not -CARD_INT_MIN < member < CARD_INT_MIN:
                    return False
            elif kind is float:
                if not math.isfinite(member):
                    return False
            elif (
                member is not None
                and kind is not bool
                and (depth >= _DEPTH or not self._is_plain("", member, texts, left, depth + 1))
            ):
                return False
        return True


def _hold_none(text: str) -> bool:
    return False
