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
from logstack_django.fields import (
    CONTEXT_FIELDS,
    EVENT_FIELDS,
    FIELD_ORDER,
    ID,
    SESSION,
    TEXT,
    level_name,
)
from logstack_django.key_rules import KeyRules
from logstack_django.options import Options
from logstack_django.redaction import Redactor
from logstack_django.sanitize import Sanitizer
from logstack_django.session_hash import hash_session
from logstack_django.sources.registry import find_translator
from logstack_django.text import encodable

LATEST = 2**35  # seconds: milliseconds given as seconds are later
_MAX_HEADS = 4096
_MAX_PLAIN = 256


# A context as JSON members: fields of the contract, others (each with a leading comma, or empty),
# and what makes a record take the full path: names of its own fields, and secrets to mask.
# A plain tuple, which is unpacked fastest.
ContextPieces = tuple[bytes, bytes, frozenset[str], tuple[str, ...]]


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
        self._trace: tuple[str | None, ContextPieces] = (None, (b"", b"", frozenset(), ()))

    def timestamp(self, created: float) -> bytes:
        """ISO 8601 without the Z; the part up to the second is kept for the next record."""
        second = int(created)
        known, text = self._second
        if known != second:
            if not 0 <= created < LATEST:
                raise ValueError("no time of a log record")
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
            and find_translator(name) is None
            and not self._holds_secret(name)
        )

    def context(self, current: Context | None, live: str | None) -> ContextPieces:
        """The fields of the context and the trace of the live span, encoded once per both."""
        if current is None:
            if self._trace[0] != live:
                self._trace = (live, self._encode_context({"trace_id": live}))
            return self._trace[1]
        request = current.request
        fields = request.fields() if request is not None else current.bound
        rendered = current.rendered
        if (
            rendered is not None
            and rendered[0] is self
            and rendered[1] is fields
            and rendered[2] == live
        ):
            return rendered[3]  # type: ignore[no-any-return]
        all_fields = current.fields()
        if live:
            all_fields = {**all_fields, "trace_id": live}
        pieces = self._encode_context(all_fields, current.secrets)
        current.rendered = (self, fields, live, pieces)
        return pieces

    def _encode_context(
        self, fields: Mapping[str, Any], secrets: tuple[str, ...] = ()
    ) -> ContextPieces:
        plain, order = self._split_plain(fields), tuple(CONTEXT_FIELDS)
        if plain is None:
            order = FIELD_ORDER
            plain = split_fields(fields, Sanitizer(self._redactor, secrets=secrets), self._encode)
        known, others = plain
        ordered = {name: known[name] for name in order if name in known}
        names = ordered.keys() | others.keys()
        if not names.isdisjoint(EVENT_FIELDS):
            names |= EVENT_FIELDS.keys()  # those of the record have to stand between them
        return (
            b"," + self._encode(ordered)[1:-1] if ordered else b"",
            b"," + self._encode(others)[1:-1] if others else b"",
            frozenset(names),
            secrets,
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
                if kind == SESSION:
                    value = hash_session(value)
                # An id of the library's or an IPv4 address is no secret.
                is_id = len(value) == 32 and value.isalnum()
                if not is_id and not (len(value) < 16 and value.replace(".", "").isdigit()):
                    texts.append(value)
            elif (
                type(value) is not int
                or kind in (TEXT, SESSION)
                or not -CARD_INT_MIN < value < CARD_INT_MIN
            ):
                return None
            if kind is not None:
                known[name] = value
            elif self._rules.allows_other(name):
                others[name] = value
            else:
                return None
        return None if self._holds_secret("\n".join(texts)) else (known, others)

    def _holds_secret(self, text: str) -> bool:
        return self._redactor is not None and self._redactor.holds_secret(text)
