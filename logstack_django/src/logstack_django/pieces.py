"""Encoded parts of a line that many records share, kept for the next record."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from logstack_django.card_numbers import CARD_INT_MIN
from logstack_django.contexts import Context
from logstack_django.encoding import Encoder
from logstack_django.field_split import split_fields
from logstack_django.fields import CONTEXT_FIELDS, EVENT_FIELDS, FIELD_ORDER, ID, TEXT, level_name
from logstack_django.key_rules import KeyRules
from logstack_django.options import Options
from logstack_django.records import TRANSLATED_LOGGERS
from logstack_django.redaction import Redactor
from logstack_django.sanitize import Sanitizer
from logstack_django.text import encodable

_MAX_HEADS = 4096
_MAX_PLAIN = 256


# A context as JSON members: fields of the contract, others (each with a leading comma, or empty),
# and the names with which a record takes the full path. A plain tuple, which is unpacked fastest.
ContextPieces = tuple[bytes, bytes, frozenset[str]]


class Pieces:
    """The parts of one formatter; both of its paths use them."""

    def __init__(
        self, options: Options, encode: Encoder, redactor: Redactor | None, rules: KeyRules
    ) -> None:
        self.service = {
            "service_name": encodable(options.service) or "unknown",
            "environment": encodable(options.environment) or "unknown",
        }
        self.encoded_service = b"," + encode(self.service)[1:-1]
        self._encode = encode
        self._redactor = redactor
        self._rules = rules
        self.heads: dict[tuple[str, int], bytes] = {}  # by logger and level, see `make_head`
        self._second = (-1, b"")

    def timestamp(self, created: float) -> bytes:
        """ISO 8601 without the Z; the part up to the second is kept for the next record."""
        second = int(created)
        known, text = self._second
        if known != second:
            text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second)).encode()
            self._second = (second, text)
        return b"%b%06d" % (text, int((created - second) * 1_000_000))

    def make_head(self, record: logging.LogRecord) -> bytes | None:
        """What stands between timestamp and message; None if the full path has to write it."""
        if not self._has_plain_head(record):
            return None
        piece = self._encode({"level": level_name(record.levelno), "logger_name": record.name})
        if len(self.heads) > _MAX_HEADS:
            self.heads.clear()
        head = self.heads[record.name, record.levelno] = b'Z",' + piece[1:-1] + b',"message":'
        return head

    def _has_plain_head(self, record: logging.LogRecord) -> bool:
        name = record.name
        return (
            type(name) is str
            and type(record.levelno) is int
            and name.isascii()
            and 0 < len(name) < _MAX_PLAIN
            and name not in TRANSLATED_LOGGERS
            and not name.startswith("celery.")
            and not self._may_hold_secret(name)
        )

    def context(self, current: Context) -> ContextPieces:
        """The fields of the context, encoded once per context."""
        request = current.request
        fields = request.fields() if request is not None else current.bound
        rendered = current.rendered
        if rendered is not None and rendered[0] is self and rendered[1] is fields:
            return rendered[2]  # type: ignore[no-any-return]
        pieces = self._encode_context(current.fields())
        current.rendered = (self, fields, pieces)
        return pieces

    def _encode_context(self, fields: Mapping[str, Any]) -> ContextPieces:
        known, others = self._split_plain(fields) or split_fields(
            fields, Sanitizer(self._redactor), self._encode
        )
        ordered = {name: known[name] for name in FIELD_ORDER if name in known}
        names = ordered.keys() | others.keys()
        if not names.isdisjoint(EVENT_FIELDS):
            names |= EVENT_FIELDS.keys()  # those of the record have to stand between them
        return (
            b"," + self._encode(ordered)[1:-1] if ordered else b"",
            b"," + self._encode(others)[1:-1] if others else b"",
            frozenset(names),
        )

    def _split_plain(
        self, fields: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """What `split_fields` gives, if all fields are short plain values; else None."""
        known: dict[str, Any] = {}
        others: dict[str, Any] = {}
        texts = []
        for name, value in fields.items():
            kind = CONTEXT_FIELDS.get(name)
            if type(value) is str:
                if not 0 < len(value) < _MAX_PLAIN or (kind == ID and value[0] in "0123456789-"):
                    return None
                texts.append(value)
            elif type(value) is not int or kind == TEXT or not -CARD_INT_MIN < value < CARD_INT_MIN:
                return None
            if kind is not None:
                known[name] = value
            elif self._rules.allows_other(name):
                others[name] = value
            else:
                return None
        return None if self._may_hold_secret("\n".join(texts)) else (known, others)

    def _may_hold_secret(self, text: str) -> bool:
        return self._redactor is not None and self._redactor.may_hold_secret(text)
