"""The fast path of the formatter, for what nearly every record is.

Short plain values that cannot hold a secret are written as they are, joined with pieces that were
encoded for an earlier record. For anything else it returns None, and the formatter takes the full
path, whose line is the same.
"""

from __future__ import annotations

import datetime
import decimal
import logging
import math
import uuid
from collections.abc import Callable
from itertools import islice
from typing import Any

from logstack_django.card_numbers import CARD_INT_MIN
from logstack_django.contexts import current as current_context_var
from logstack_django.encoding import Encoder, escape_unseen
from logstack_django.field_split import MAX_FIELDS
from logstack_django.key_rules import KeyRules
from logstack_django.pieces import Pieces
from logstack_django.records import PLAIN_TYPES, STANDARD_COUNT, STANDARD_LAST
from logstack_django.redaction import Redactor
from logstack_django.sanitize import MAX_ITEMS, MAX_STRING
from logstack_django.sources.opentelemetry import live_trace_id
from logstack_django.text import iso_text
from logstack_django.tracebacks import TracebackWriter

# Nested names of this length, joined with dots, are shorter than the longest name.
_SHORT_NAME = 24
_DEPTH = 3
_MOST_MEMBERS = 256
_READERS: dict[type, Callable[[Any], str]] = {
    decimal.Decimal: str,
    uuid.UUID: str,
    datetime.datetime: iso_text,
    datetime.date: iso_text,
}
_Extras = tuple[dict[str, Any], dict[str, Any], str]
_NO_FIELDS: dict[str, Any] = {}


class FastPath:
    """Formats plain records with the pieces of one formatter.

    `try_format` is one function with many exits, because a further call for the message costs 2 to
    6 % of a plain record, and an exception as the way out 5 to 10 % of a record on the full path.
    """

    def __init__(
        self,
        encode: Encoder,
        redactor: Redactor | None,
        rules: KeyRules,
        pieces: Pieces,
        tracebacks: TracebackWriter,
    ) -> None:
        self._encode = encode
        self._may_hold_secret = redactor.may_hold_secret if redactor is not None else _hold_none
        self._holds_secret = redactor.holds_secret if redactor is not None else _hold_none
        self._rules = rules
        self._pieces = pieces
        self._tracebacks = tracebacks

    def try_format(self, record: logging.LogRecord) -> bytes | None:
        """The line of the record, newline included; None if it has to take the full path."""
        pieces, encode = self._pieces, self._encode
        try:
            message = text = record.msg
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
            head = pieces.heads.get((record.name, record.levelno)) or pieces.make_head(record)
            error: bytes | None = b""
            if record.exc_info or record.exc_text or record.stack_info:
                error = self._encode_error(record)
            if head is None or error is None:
                return None
            events = others = _NO_FIELDS
            attributes = record.__dict__
            if len(attributes) != STANDARD_COUNT or next(reversed(attributes)) != STANDARD_LAST:
                split = self._split_extras(attributes)
                if split is None:
                    return None
                events, others, added_text = split
                if added_text:
                    text = f"{message}\n{added_text}"
            if len(text) > MAX_STRING or (self._may_hold_secret(text) and self._holds_secret(text)):
                return None
            current = current_context_var.get()
            live = live_trace_id()
            context = context_others = b""
            if current is not None or live is not None:
                context, context_others, names, secrets = pieces.context(current, live)
                clash = (events and not names.isdisjoint(events)) or (
                    others and not names.isdisjoint(others)
                )
                if clash or secrets:
                    return None
            line = b"".join(
                (
                    b'{"timestamp":"',
                    pieces.timestamp(record.created),
                    head,
                    encode(message),
                    pieces.encoded_service,
                    context,
                    b"," + encode(events)[1:-1] if events else b"",
                    error,
                    context_others,
                    b"," + encode(others)[1:-1] if others else b"",
                    b"}\n",
                )
            )
        except (TypeError, ValueError, ArithmeticError):  # unfit arguments; a lone surrogate
            return None
        return line if line.isascii() and 127 not in line else escape_unseen(line)

    def _split_extras(self, attributes: dict[str, Any]) -> _Extras | None:
        """(event fields, other fields, all text in them)."""
        added = islice(attributes.items(), STANDARD_COUNT - 1, None)
        if next(added, ("", None))[0] != STANDARD_LAST:
            return None
        rules = self._rules
        events: dict[str, Any] = {}
        others: dict[str, Any] = {}
        texts: list[str] = []
        left = [_MOST_MEMBERS]
        last_place = 0
        for key, value in added:
            if value is None:
                continue
            rule = rules[key]
            value_type = type(value)
            if value_type not in rule.types:
                if rule.hidden:
                    continue
                if rule.event_place or not rule.types:
                    return None
                read = _READERS.get(value_type)
                if read is not None:
                    value = read(value)
                elif not self._is_plain(key, value, texts, left, 0):
                    return None
            elif value_type is str:
                if not value:
                    continue
                if rule.is_id and value[0] in "0123456789-":
                    return None
                texts.append(value)
            elif value_type is int:
                if not -CARD_INT_MIN < value < CARD_INT_MIN:
                    return None
            elif value_type is float and not math.isfinite(value):
                return None
            if rule.event_place:
                if rule.event_place < last_place:
                    return None
                last_place = rule.event_place
                events[key] = value
            else:
                others[key] = value
        if len(others) > MAX_FIELDS:
            return None
        return events, others, "\n".join(texts)

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
        if left[0] < 0 or len(value) > MAX_ITEMS:  # the full path may cut it
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

    def _encode_error(self, record: logging.LogRecord) -> bytes | None:
        info: Any = record.exc_info
        if record.stack_info or type(info) is not tuple or not isinstance(info[1], BaseException):
            return None
        fields, truncated = self._tracebacks.fields(info[1], info[2])
        if truncated:
            return None
        return b"," + self._encode(fields)[1:-1]


def _hold_none(text: str) -> bool:
    return False
