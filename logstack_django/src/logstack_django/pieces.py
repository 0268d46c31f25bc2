"""Encoded parts of a line that many records share, kept for the next record."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from logstack_django.contexts import Context
from logstack_django.encoding import Encoder
from logstack_django.field_split import split_fields
from logstack_django.fields import (
    CONTEXT_FIELDS,
    EVENT_FIELDS,
    FIELD_ORDER,
    ID,
    INT_MAX,
    INT_MIN,
    SESSION,
    as_id,
    level_name,
)
from logstack_django.key_rules import KeyRules
from logstack_django.options import Options
from logstack_django.redaction import Redactor
from logstack_django.sanitize import Sanitizer
from logstack_django.secret_tokens import CARD_INT_MIN
from logstack_django.session_hash import hash_session
from logstack_django.sources.registry import find_translator
from logstack_django.sources.source import Translator
from logstack_django.text import encodable, safe_text

LATEST = 2**35  # seconds: milliseconds given as seconds are later
_MOST_HEADS = 4096
_MOST_TEXTS = 1024
_MOST_LAYOUTS = 256
_LONGEST = 256


# What the records of a context share, as JSON members: the service and all fields of the contract;
# those fields without the trace; other fields. Each begins with a comma or is empty. Then the
# names with which a record's fields have to be merged with them, the texts that records may not
# show, whether something was cut, and the fields again. A plain tuple: made and unpacked fastest.
ContextPieces = tuple[bytes, bytes, bytes, frozenset[str], tuple[str, ...], bool, dict[str, Any]]
# Of the names of a context: those of the contract with their types, in its order; the others; and
# the names of `ContextPieces`.
_Layout = tuple[tuple[tuple[str, str], ...], tuple[str, ...], frozenset[str]]


class Pieces:
    """The parts of one formatter."""

    def __init__(
        self, options: Options, encode: Encoder, redactor: Redactor | None, rules: KeyRules
    ) -> None:
        self.service = {
            "service_name": encodable(options.service) or "unknown",
            "environment": encodable(options.environment) or "unknown",
        }
        self.encoded_service = b"," + encode(self.service)[1:-1]
        # By logger and level: what stands between timestamp and message, and what translates the
        # records.
        self.heads: dict[tuple[str, int], tuple[bytes, Translator | None]] = {}
        self._no_context: ContextPieces = (
            *(self.encoded_service, b"", b"", frozenset(), (), False, {}),
        )
        self._encode = encode
        self._redactor = redactor
        self._rules = rules
        self._second: tuple[int | None, bytes] = (None, b"")
        self._layouts: dict[tuple[str, ...], _Layout | None] = {}
        self._clean: set[str] = set()  # short texts without secrets: names of users and tenants

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

    def head(self, record: logging.LogRecord) -> tuple[bytes, Translator | None]:
        """See `heads`."""
        name, level = record.name, record.levelno
        plain = type(name) is str and type(level) is int
        if plain and (found := self.heads.get((name, level))) is not None:
            return found
        shown = str(Sanitizer(self._redactor).contract_value(safe_text(name)))[:256]
        number = level if isinstance(level, int) else logging.INFO
        piece = self._encode({"level": level_name(number), "logger_name": shown or "root"})
        translator = find_translator(name) if isinstance(name, str) else None
        head = (b'Z",' + piece[1:-1] + b',"message":', translator)
        if plain:
            if len(self.heads) > _MOST_HEADS:
                self.heads.clear()
            self.heads[name, level] = head
        return head

    def context(self, current: Context | None) -> ContextPieces:
        """The fields of a context, encoded once."""
        if current is None:
            return self._no_context
        request = current.request
        fields = request.fields() if request is not None else current.bound
        rendered = current.rendered
        if rendered is not None and rendered[0] is self and rendered[1] is fields:
            return rendered[2]  # type: ignore[no-any-return]
        pieces = self._encode_context(current.fields(), current.secrets)
        current.rendered = (self, fields, pieces)
        return pieces

    def _encode_context(self, fields: Mapping[str, Any], secrets: tuple[str, ...]) -> ContextPieces:
        names = tuple(fields)
        if names in self._layouts:
            layout = self._layouts[names]
        else:
            if len(self._layouts) > _MOST_LAYOUTS:
                self._layouts.clear()
            layout = self._layouts[names] = self._make_layout(names)
        split = self._split_plain(fields, layout) if layout is not None else None
        truncated = False
        if split is not None:
            known, others = split
            merged = layout[2]  # type: ignore[index]
        else:
            sanitizer = Sanitizer(self._redactor, secrets=secrets)
            found, others = split_fields(fields, sanitizer, self._encode)
            known = {name: found[name] for name in FIELD_ORDER if name in found}
            merged = _merged(known, others)
            truncated = sanitizer.truncated
        trace = known.pop("trace_id", None)
        rest = b"," + self._encode(known)[1:-1] if known else b""
        service = self.encoded_service
        if trace is None:
            shared = service + rest
        else:
            shared = b'%b,"trace_id":%b%b' % (service, self._encode(trace), rest)
            known["trace_id"] = trace
        return (
            shared,
            rest,
            b"," + self._encode(others)[1:-1] if others else b"",
            merged,
            secrets,
            truncated,
            {**known, **others},
        )

    def _make_layout(self, names: tuple[str, ...]) -> _Layout | None:
        """None if one of the names needs the sanitizer."""
        others = tuple(name for name in names if name not in CONTEXT_FIELDS)
        if not all(map(self._rules.allows_other, others)):
            return None
        known = tuple((name, kind) for name, kind in CONTEXT_FIELDS.items() if name in names)
        return known, others, _merged(dict(known), others)

    def _split_plain(
        self, fields: Mapping[str, Any], layout: _Layout
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """What `split_fields` gives, if all fields are short plain values; else None."""
        known: dict[str, Any] = {}
        others: dict[str, Any] = {}
        clean, is_clean = self._clean, self._is_clean
        for name, kind in layout[0]:
            value = fields[name]
            if type(value) is str:
                if value not in clean and not is_clean(value):
                    return None
                if kind is SESSION:
                    value = hash_session(value)
                elif kind is ID:
                    value = as_id(value)
            elif type(value) is not int or kind is not ID or not INT_MIN <= value <= INT_MAX:
                return None
            known[name] = value
        for name in layout[1]:
            value = fields[name]
            if type(value) is str:
                if value not in clean and not is_clean(value):
                    return None
            elif type(value) is not int or not -CARD_INT_MIN < value < CARD_INT_MIN:
                return None
            others[name] = value
        return known, others

    def _is_clean(self, text: str) -> bool:
        """Whether a text is short, not empty, and holds no secret."""
        length = len(text)
        if length == 32 and text.isalnum() and text.isascii():
            return True  # an id of the library's
        if not 0 < length < _LONGEST:
            return False
        if self._redactor is not None and self._redactor.holds_secret(text):
            return False
        if len(self._clean) > _MOST_TEXTS:
            self._clean.clear()
        self._clean.add(text)
        return True


def _merged(known: Mapping[str, Any], others: Any) -> frozenset[str]:
    """The names of a record's fields that stand before or replace fields of a context."""
    names = CONTEXT_FIELDS.keys() | known.keys() | set(others)
    return frozenset(names if names.isdisjoint(EVENT_FIELDS) else names | EVENT_FIELDS.keys())
