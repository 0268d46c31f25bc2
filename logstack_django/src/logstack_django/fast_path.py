"""The quick path of the formatter, for what nearly every record is.

Short plain values without a hint of a secret, which can be written as they are: pieces that were
encoded before (logger, service, context) are joined with those that are new. Anything else makes
it return None, and `formatter` takes the careful path, whose result is the same.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from itertools import islice
from typing import Any

from logstack_django import encoding, telemetry
from logstack_django.card_numbers import CARD_INT_MIN
from logstack_django.contexts import Context
from logstack_django.contexts import current as current_context_var
from logstack_django.fields import (
    CONTEXT_FIELDS,
    EVENT_FIELDS,
    FIELD_ORDER,
    ID,
    NUMBER,
    OWNED_FIELDS,
    TEXT,
    level_name,
)
from logstack_django.options import Options
from logstack_django.records import (
    FIELDS_ATTRIBUTE,
    PLAIN_TYPES,
    STANDARD_COUNT,
    STANDARD_LAST,
    TRANSLATED_LOGGERS,
)
from logstack_django.redaction import Redactor
from logstack_django.sanitize import MAX_KEY, MAX_STRING, Sanitizer
from logstack_django.text import encodable
from logstack_django.tracebacks import TracebackWriter

MAX_FIELDS = 64

_CAREFUL = -1  # the value of this key must go through the careful path
_EXTRA = 0
_FIRST_EVENT = 1  # from here on: place of an event field in the contract
_EVENT_PLACES = {name: place for place, name in enumerate(EVENT_FIELDS, _FIRST_EVENT)}
_EVENT_NAMES = ("", *EVENT_FIELDS)
_QUICK_TYPES: dict[str, frozenset[type]] = {
    TEXT: frozenset({str}),
    ID: frozenset({int, str}),
    NUMBER: frozenset({int, float}),
}
_KIND_TYPES = (
    frozenset(PLAIN_TYPES),
    *(_QUICK_TYPES.get(kind, frozenset({int})) for kind in EVENT_FIELDS.values()),
)
_IS_ID = (False, *(kind == ID for kind in EVENT_FIELDS.values()))


class QuickPath(logging.Formatter):
    """The base of `JsonFormatter`: its state, and the quick path."""

    def __init__(
        self,
        options: Options | Mapping[str, Any] | None = None,
        encoder: encoding.Encoder | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(options, Options):
            options = Options.from_mapping(options or {})
        self.options = options
        self._encode = encoder or encoding.encode
        self.redactor = (
            Redactor(options.redact_keys, options.keep_keys, options.redact_patterns)
            if options.redaction
            else None
        )
        self._may_hold_secret = self.redactor.may_hold_secret if self.redactor else _never
        self._errors = TracebackWriter(self.redactor)
        self._service = {
            "service_name": encodable(options.service) or "unknown",
            "environment": encodable(options.environment) or "unknown",
        }
        self._service_piece = b"," + self._encode(self._service)[1:-1]
        self._heads: dict[tuple[str, int], bytes] = {}
        self._kinds: dict[str, int] = {}
        self._second = (-1, b"")

    def _format_quick(self, record: logging.LogRecord) -> bytes | None:
        message = record.msg
        args = record.args
        if type(message) is not str:
            return None
        if args:
            if type(args) is not tuple:
                return None
            for value in args:
                if type(value) not in PLAIN_TYPES:
                    return None
            message = message % args
        head = self._heads.get((record.name, record.levelno))
        if head is None and (head := self._make_head(record)) is None:
            return None
        error_piece = b""
        if record.exc_info or record.exc_text or record.stack_info:
            found = self._error_piece(record)
            if found is None:
                return None
            error_piece = found
        texts = message
        events: dict[str, Any] | None = None
        more: dict[str, Any] | None = None
        attributes = record.__dict__
        if len(attributes) != STANDARD_COUNT or next(reversed(attributes)) != STANDARD_LAST:
            split = self._split_extras(attributes)
            if split is None:
                return None
            events, more, joined = split
            if joined:
                texts = f"{message}\n{joined}"
        if len(texts) > MAX_STRING or self._may_hold_secret(texts):
            return None
        context_piece = context_more = b""
        current = current_context_var.get()
        if current is not None:
            context_piece, context_more, keys = self._context_pieces(current)
            if (events and not keys.isdisjoint(events)) or (more and not keys.isdisjoint(more)):
                return None
        if telemetry.overrides(current):
            return None
        encode = self._encode
        line = b"".join(
            (
                b'{"timestamp":"',
                self._timestamp(record.created),
                head,
                encode(message),
                self._service_piece,
                context_piece,
                b"," + encode(events)[1:-1] if events else b"",
                error_piece,
                context_more,
                b"," + encode(more)[1:-1] if more else b"",
                b"}\n",
            )
        )
        return line if line.isascii() else encoding.escape_line_separators(line)

    def _split_extras(
        self, attributes: dict[str, Any]
    ) -> tuple[dict[str, Any] | None, dict[str, Any] | None, str] | None:
        """(event fields, other fields, all text in them), or None if one needs care."""
        added = islice(attributes.items(), STANDARD_COUNT - 1, None)
        if next(added, ("", None))[0] != STANDARD_LAST:
            return None
        kinds = self._kinds
        events: dict[str, Any] = {}
        more: dict[str, Any] = {}
        texts = []
        last_event = 0
        for key, value in added:
            kind = kinds.get(key)
            if kind is None:
                kind = self._classify(key)
            if kind < 0:
                return None
            if value is None:
                continue
            value_type = type(value)
            if value_type not in _KIND_TYPES[kind]:
                return None
            if value_type is str:
                if not value:
                    continue
                if len(value) > MAX_STRING or (_IS_ID[kind] and (value[0] in "0123456789-")):
                    return None
                texts.append(value)
            elif value_type is int:
                if not -CARD_INT_MIN < value < CARD_INT_MIN:
                    return None
            elif value_type is float and not math.isfinite(value):
                return None
            if kind:
                if kind < last_event:
                    return None
                last_event = kind
                events[key] = value
            else:
                more[key] = value
        if len(more) > MAX_FIELDS:
            return None
        return events, more, "\n".join(texts)

    def _classify(self, key: Any) -> int:
        """What the quick path may do with the values under this key."""
        if (
            type(key) is not str
            or not key
            or len(key) > MAX_KEY
            or not key.isascii()
            or key in OWNED_FIELDS
            or key in CONTEXT_FIELDS
            or key in (FIELDS_ATTRIBUTE, "request", "data", "message", "asctime", "taskName")
            or key in ("server_time", "logstack_line")
            or (self.redactor is not None and self.redactor.is_secret_key(key))
            or self._may_hold_secret(key)
        ):
            kind = _CAREFUL
        else:
            kind = _EVENT_PLACES.get(key, _EXTRA)
        if len(self._kinds) > 4096:  # keys may come from a client
            self._kinds.clear()
        self._kinds[key] = kind
        return kind

    def _make_head(self, record: logging.LogRecord) -> bytes | None:
        name = record.name
        if (
            type(name) is not str
            or type(record.levelno) is not int
            or not name.isascii()
            or not 0 < len(name) < 256
            or name in TRANSLATED_LOGGERS
            or name.startswith("celery.")
            or self._may_hold_secret(name)
        ):
            return None
        piece = self._encode({"level": level_name(record.levelno), "logger_name": name})
        head = b'Z",' + piece[1:-1] + b',"message":'
        if len(self._heads) > 4096:
            self._heads.clear()
        self._heads[(name, record.levelno)] = head
        return head

    def _timestamp(self, created: float) -> bytes:
        """ISO 8601 without the Z; the part up to the second is kept for the next record."""
        second = int(created)
        known, text = self._second
        if known != second:
            text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second)).encode()
            self._second = (second, text)
        return b"%b%06d" % (text, int((created - second) * 1_000_000))

    def _context_pieces(self, current: Context) -> tuple[bytes, bytes, frozenset[str]]:
        """The encoded context: fields of the contract, other fields, all names."""
        request = current.request
        fields = request.fields() if request is not None else current.bound
        rendered = current.rendered
        if rendered is not None and rendered[0] is self and rendered[1] is fields:
            return rendered[2]  # type: ignore[no-any-return]
        all_fields = current.fields()
        known, more = self._sort_plain(all_fields) or self._sort_fields(
            all_fields, Sanitizer(self.redactor)
        )
        ordered = {name: known[name] for name in CONTEXT_FIELDS if name in known}
        if len(ordered) != len(known):  # event fields that were bound
            ordered = {name: known[name] for name in FIELD_ORDER if name in known}
        pieces = (
            b"," + self._encode(ordered)[1:-1] if ordered else b"",
            b"," + self._encode(more)[1:-1] if more else b"",
            frozenset(ordered) | frozenset(more),
        )
        current.rendered = (self, fields, pieces)
        return pieces

    def _sort_plain(
        self, fields: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """What `_sort_fields` does, if all fields are short plain values; else None."""
        known: dict[str, Any] = {}
        more: dict[str, Any] = {}
        texts = []
        for name, value in fields.items():
            kind = CONTEXT_FIELDS.get(name)
            if type(value) is str:
                if not 0 < len(value) < 256 or (kind == ID and value[0] in "0123456789-"):
                    return None
                texts.append(value)
            elif type(value) is not int or kind == TEXT or not -CARD_INT_MIN < value < CARD_INT_MIN:
                return None
            if kind is not None:
                known[name] = value
            elif self._kinds.get(name, self._classify(name)) == _EXTRA:
                more[name] = value
            else:
                return None
        return None if self._may_hold_secret("\n".join(texts)) else (known, more)

    def _error_piece(self, record: logging.LogRecord) -> bytes | None:
        info: Any = record.exc_info
        if record.stack_info or type(info) is not tuple or not isinstance(info[1], BaseException):
            return None
        fields, truncated = self._errors.fields(info[1], info[2])
        return None if truncated else b"," + self._encode(fields)[1:-1]

    def _sort_fields(
        self, fields: Mapping[Any, Any], sanitizer: Sanitizer
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Clean `fields`, apart into those of the contract and the others (careful)."""
        raise NotImplementedError


def _never(text: str) -> bool:
    return False
