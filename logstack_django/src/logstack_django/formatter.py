"""The JSON formatter: one LogRecord in, one bounded line of strict JSON out, whatever is in it.

Nearly every record has only plain values, which are taken as they are (`plain`). Those of all
others go through the sanitizer. Both are written by `_write`. If that fails, the line is a
constant one.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from logstack_django import encoding
from logstack_django.config import make_redactor
from logstack_django.contexts import current as current_context_var
from logstack_django.encoding import escape_unseen
from logstack_django.field_split import in_order, split_fields
from logstack_django.fields import level_name
from logstack_django.key_rules import KeyRules
from logstack_django.messages import message_text
from logstack_django.options import Options, to_options
from logstack_django.pieces import LATEST, ContextPieces, Pieces
from logstack_django.plain import Draft, PlainReader
from logstack_django.records import read_extras
from logstack_django.sanitize import MAX_TEXT, Sanitizer
from logstack_django.size_limit import cap_record
from logstack_django.sources.opentelemetry import live_trace_id
from logstack_django.sources.python import mapped_exception
from logstack_django.sources.registry import HIDDEN, translate
from logstack_django.sources.source import Translation
from logstack_django.tracebacks import TracebackWriter

_NO_FIELDS: dict[str, Any] = {}


class JsonFormatter(logging.Formatter):
    """Formats records as the contract says.

    `options` are those of `logging_config`. `encoder` is for tests.
    """

    def __init__(
        self,
        options: Options | Mapping[str, Any] | None = None,
        encoder: encoding.Encoder | None = None,
    ) -> None:
        super().__init__()
        self.options = to_options(options)
        self.redactor = make_redactor(self.options)
        # How many records could not be formatted and were replaced by a constant line.
        self.failures = 0
        self._encode = encoder or encoding.encode
        rules = KeyRules(self.redactor)
        self._pieces = Pieces(self.options, self._encode, self.redactor, rules)
        self._tracebacks = TracebackWriter(self.redactor)
        self._limit = self.options.max_record_bytes
        self._plain = PlainReader(self._encode, self.redactor, rules)

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON, without the newline."""
        return self.format_line(record)[:-1].decode()

    def format_line(self, record: logging.LogRecord) -> bytes:
        """The record as one line of UTF-8 JSON that ends in a newline. Never raises."""
        try:
            line = self._format_plainly(record) or self._format_carefully(record)
            if len(line) >= self._limit:
                line = cap_record(json.loads(line), self._limit, self._encode)
            return line
        except Exception as error:  # includes RecursionError, which logging would raise
            self.failures += 1
            return self._format_failure(record, error)

    def _format_plainly(self, record: logging.LogRecord) -> bytes | None:
        """The line of a record with plain values; None if one of them needs the sanitizer."""
        pieces = self._pieces
        try:
            head, translator = pieces.heads.get((record.name, record.levelno)) or pieces.head(
                record
            )
            context = pieces.context(current_context_var.get())
            if translator is not None or context[4]:
                return None
            draft = self._plain.read(record)
            if draft is None:
                return None
            error, truncated = _NO_FIELDS, False
            if record.exc_info or record.exc_text or record.stack_info:
                info: Any = record.exc_info
                if record.stack_info or type(info) is not tuple or info[1] is None:
                    return None
                error, truncated = self._tracebacks.fields(info[1], info[2])
            created = pieces.timestamp(record.created)
            return self._write(created, head, draft, context, error, truncated)
        except (TypeError, ValueError, ArithmeticError):  # unfit arguments; a lone surrogate
            return None

    def _format_carefully(self, record: logging.LogRecord) -> bytes:
        """The line of any record."""
        translation = translate(record, self.redactor)
        context = self._pieces.context(current_context_var.get() or translation.context)
        secrets = context[4]
        room = max(MAX_TEXT, self._limit)
        sanitizer = Sanitizer(self.redactor, room, secrets)
        draft = self._sanitize(record, translation, sanitizer)
        error = self._error_fields(record, sanitizer, secrets)
        created = record.created
        if not isinstance(created, int | float) or not 0 <= created < LATEST:
            created = time.time()
        head, _ = self._pieces.head(record)
        timestamp = self._pieces.timestamp(created)
        return self._write(timestamp, head, draft, context, error, sanitizer.truncated)

    def _sanitize(
        self, record: logging.LogRecord, translation: Translation, sanitizer: Sanitizer
    ) -> Draft:
        given = read_extras(record, HIDDEN.union(translation.hidden))
        given = {**translation.fields, **given}
        message, fits = translation.message, True
        if message is None:
            message, fits = message_text(record, sanitizer)
        if record.stack_info and not record.exc_info:
            given["stack_info"] = record.stack_info
        known, others = split_fields(given, sanitizer, self._encode)
        if not fits:
            others["format_error"] = "the arguments do not fit the message"
        return self._encode(sanitizer.message(message)), in_order({**known, **others})

    def _write(
        self,
        timestamp: bytes,
        head: bytes,
        draft: Draft,
        context: ContextPieces,
        error: dict[str, Any],
        truncated: bool,
    ) -> bytes:
        """The line, newline included."""
        encode = self._encode
        message, fields = draft
        shared, rest, shared_others, merged, _, cut, shared_fields = context
        live = live_trace_id()
        if fields and not merged.isdisjoint(fields):
            fields = in_order({**shared_fields, **fields})
            shared, rest, shared_others = self._pieces.encoded_service, b"", b""
        if live is not None:
            shared = b'%b,"trace_id":"%b"%b' % (self._pieces.encoded_service, live.encode(), rest)
            if "trace_id" in fields:
                fields = {name: value for name, value in fields.items() if name != "trace_id"}
        if error or truncated or cut:
            fields = {**fields, **error}
            if truncated or cut:
                fields["truncated"] = True
            fields = in_order(fields)
        line = b"".join(
            (
                b'{"timestamp":"',
                timestamp,
                head,
                message,
                shared,
                b"," + encode(fields)[1:-1] if fields else b"",
                shared_others,
                b"}\n",
            )
        )
        return line if line.isascii() and 127 not in line else escape_unseen(line)

    def _error_fields(
        self, record: logging.LogRecord, sanitizer: Sanitizer, secrets: tuple[str, ...]
    ) -> dict[str, Any]:
        info: Any = record.exc_info or mapped_exception(record)
        if isinstance(info, BaseException):
            info = (type(info), info, info.__traceback__)
        if isinstance(info, tuple) and len(info) == 3 and isinstance(info[1], BaseException):
            fields, truncated = self._tracebacks.fields(info[1], info[2], secrets)
            sanitizer.truncated = sanitizer.truncated or truncated
            return fields
        if isinstance(record.exc_text, str) and record.exc_text:
            # Only the text is left when the record came from another process.
            return {"stack_trace": sanitizer.message(record.exc_text)}
        return {}

    # --- last resort ----------------------------------------------------------------------------

    def _format_failure(self, record: logging.LogRecord, error: Exception) -> bytes:
        """A line made only of values that cannot fail."""
        level = record.levelno if type(record.levelno) is int else logging.ERROR
        name = record.name if type(record.name) is str and record.name.isascii() else "root"
        out = {
            "timestamp": f"{self._pieces.timestamp(time.time()).decode()}Z",
            "level": level_name(level),
            "logger_name": name[:256] or "root",
            "message": "A log record could not be formatted",
            **self._pieces.service,
            "event_type": "log_record_unformattable",
            "format_error": type(error).__name__[:100].encode("ascii", "replace").decode(),
        }
        return self._encode(out) + b"\n"
