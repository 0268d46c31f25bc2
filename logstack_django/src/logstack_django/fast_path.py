"""The fast path of the formatter, for what nearly every record is.

Short plain values that cannot hold a secret are written as they are, joined with pieces that were
encoded for an earlier record. For anything else it returns None, and the formatter takes the full
path, whose line is the same.
"""

from __future__ import annotations

import logging
import math
from itertools import islice
from typing import Any

from logstack_django import telemetry
from logstack_django.card_numbers import CARD_INT_MIN
from logstack_django.contexts import current as current_context_var
from logstack_django.encoding import Encoder, escape_line_separators
from logstack_django.field_split import MAX_FIELDS
from logstack_django.key_rules import KeyRules
from logstack_django.pieces import Pieces
from logstack_django.records import PLAIN_TYPES, STANDARD_COUNT, STANDARD_LAST
from logstack_django.redaction import Redactor
from logstack_django.sanitize import MAX_STRING
from logstack_django.tracebacks import TracebackWriter

_NO_FIELDS: dict[str, Any] = {}


class _FullPathError(Exception):
    """The record holds something that only the full path can write."""


class FastPath:
    """Formats plain records with the pieces of one formatter."""

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
        self._rules = rules
        self._pieces = pieces
        self._tracebacks = tracebacks

    def try_format(self, record: logging.LogRecord) -> bytes | None:
        """The line of the record, newline included; None if it has to take the full path."""
        try:
            return self._format(record)
        # Arguments that do not fit the message, or a lone surrogate, are the full path's, too.
        except (_FullPathError, TypeError, ValueError, ArithmeticError):
            return None

    def _format(self, record: logging.LogRecord) -> bytes:
        pieces = self._pieces
        head = pieces.heads.get((record.name, record.levelno)) or pieces.make_head(record)
        if head is None:
            raise _FullPathError
        message = text = _plain_message(record)
        error = b""
        if record.exc_info or record.exc_text or record.stack_info:
            error = self._encode_error(record)
        events = others = _NO_FIELDS
        attributes = record.__dict__
        if len(attributes) != STANDARD_COUNT or next(reversed(attributes)) != STANDARD_LAST:
            events, others, added_text = self._split_extras(attributes)
            if added_text:
                text = f"{message}\n{added_text}"
        if len(text) > MAX_STRING or self._may_hold_secret(text):
            raise _FullPathError
        current = current_context_var.get()
        if telemetry.overrides(current):
            raise _FullPathError
        context = context_others = b""
        if current is not None:
            context, context_others, names = pieces.context(current)
            if (events or others) and not (names.isdisjoint(events) and names.isdisjoint(others)):
                raise _FullPathError
        encode = self._encode
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
        return line if line.isascii() else escape_line_separators(line)

    def _split_extras(
        self, attributes: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any], str]:
        """(event fields, other fields, all text in them)."""
        added = islice(attributes.items(), STANDARD_COUNT - 1, None)
        if next(added, ("", None))[0] != STANDARD_LAST:
            raise _FullPathError
        rules = self._rules
        events: dict[str, Any] = {}
        others: dict[str, Any] = {}
        texts = []
        last_place = 0
        for key, value in added:
            if value is None:
                continue
            rule = rules[key]
            value_type = type(value)
            if value_type not in rule.types:
                raise _FullPathError
            if value_type is str:
                if not value:
                    continue
                if rule.is_id and value[0] in "0123456789-":
                    raise _FullPathError
                texts.append(value)
            elif value_type is int:
                if not -CARD_INT_MIN < value < CARD_INT_MIN:
                    raise _FullPathError
            elif value_type is float and not math.isfinite(value):
                raise _FullPathError
            if rule.event_place:
                if rule.event_place < last_place:
                    raise _FullPathError
                last_place = rule.event_place
                events[key] = value
            else:
                others[key] = value
        if len(others) > MAX_FIELDS:
            raise _FullPathError
        return events, others, "\n".join(texts)

    def _encode_error(self, record: logging.LogRecord) -> bytes:
        info: Any = record.exc_info
        if record.stack_info or type(info) is not tuple or not isinstance(info[1], BaseException):
            raise _FullPathError
        fields, truncated = self._tracebacks.fields(info[1], info[2])
        if truncated:
            raise _FullPathError
        return b"," + self._encode(fields)[1:-1]


def _plain_message(record: logging.LogRecord) -> str:
    message = record.msg
    if type(message) is not str:
        raise _FullPathError
    args = record.args
    if not args:
        return message
    if type(args) is not tuple:
        raise _FullPathError
    for value in args:
        if type(value) not in PLAIN_TYPES:
            raise _FullPathError
    return message % args


def _hold_none(text: str) -> bool:
    return False
