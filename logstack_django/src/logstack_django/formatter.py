"""The JSON formatter: one LogRecord in, one bounded line of strict JSON out, whatever is in it.

Nearly every record takes the fast path (`fast_path`). All others take the full path here, which
sanitizes every value; for a plain record its line is the same. If even that fails, the line is a
constant one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from logstack_django import encoding
from logstack_django.config import make_redactor
from logstack_django.contexts import current as current_context_var
from logstack_django.encoding import escape_unseen
from logstack_django.fast_path import FastPath
from logstack_django.field_split import split_fields
from logstack_django.fields import FIELD_ORDER, level_name
from logstack_django.key_rules import KeyRules
from logstack_django.messages import message_text
from logstack_django.options import Options, to_options
from logstack_django.pieces import LATEST, Pieces
from logstack_django.records import read_extras
from logstack_django.sanitize import MAX_TEXT, Sanitizer
from logstack_django.size_limit import cap_record
from logstack_django.sources.opentelemetry import live_trace_id
from logstack_django.sources.python import mapped_exception
from logstack_django.sources.registry import HIDDEN, translate
from logstack_django.text import safe_text
from logstack_django.tracebacks import TracebackWriter


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
        self._fast_path = FastPath(
            self._encode, self.redactor, rules, self._pieces, self._tracebacks
        )

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON, without the newline."""
        return self.format_line(record)[:-1].decode()

    def format_line(self, record: logging.LogRecord) -> bytes:
        """The record as one line of UTF-8 JSON that ends in a newline. Never raises."""
        try:
            line = self._fast_path.try_format(record)
            if line is None or len(line) >= self.options.max_record_bytes:
                line = self._format_fully(record)
            return line
        except Exception as error:  # includes RecursionError, which logging would raise
            self.failures += 1
            return self._format_failure(record, error)

    # --- full path ------------------------------------------------------------------------------

    def _format_fully(self, record: logging.LogRecord) -> bytes:
        translation = translate(record, self.redactor)
        current = current_context_var.get() or translation.context
        fields = dict(current.fields()) if current is not None else {}
        secrets = current.secrets if current is not None else ()
        room = max(MAX_TEXT, self.options.max_record_bytes)
        sanitizer = Sanitizer(self.redactor, room, secrets)
        given = read_extras(record, HIDDEN.union(translation.hidden))
        given = {**translation.fields, **given}
        message, fits = translation.message, True
        if message is None:
            message, fits = message_text(record, sanitizer)
        if record.stack_info and not record.exc_info:
            given["stack_info"] = record.stack_info
        known, others = split_fields(fields, sanitizer, self._encode)
        event_known, event_others = split_fields(given, sanitizer, self._encode)
        known.update(event_known)
        others.update(event_others)
        live = live_trace_id()
        if live:
            known["trace_id"] = live
        if not fits:
            others["format_error"] = "the arguments do not fit the message"
        out: dict[str, Any] = self._head(record, sanitizer)
        out["message"] = sanitizer.message(message)
        out.update(self._pieces.service)
        known.update(self._error_fields(record, sanitizer, secrets))
        for name in FIELD_ORDER:
            if name in known:
                out[name] = known[name]
        if sanitizer.truncated:
            out["truncated"] = True
        out.update(others)
        line = escape_unseen(self._encode(out) + b"\n")
        if len(line) >= self.options.max_record_bytes:
            line = cap_record(out, self.options.max_record_bytes, self._encode)
        return line

    def _head(self, record: logging.LogRecord, sanitizer: Sanitizer) -> dict[str, Any]:
        created = record.created
        if not isinstance(created, int | float) or not 0 <= created < LATEST:
            created = time.time()
        level = record.levelno if isinstance(record.levelno, int) else logging.INFO
        name = str(sanitizer.contract_value(safe_text(record.name)))[:256]
        return {
            "timestamp": f"{self._pieces.timestamp(created).decode()}Z",
            "level": level_name(level),
            "logger_name": name or "root",
        }

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
