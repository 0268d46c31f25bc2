"""The JSON formatter: one LogRecord in, one bounded line of strict JSON out, whatever is in it.

Nearly every record takes the quick path (`quick`). Whatever that cannot take goes through the
careful one here (`Sanitizer`), with the same result. If even that fails, a constant line says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from logstack_django import encoding, telemetry
from logstack_django.celery_records import find_task_context
from logstack_django.contexts import current as current_context_var
from logstack_django.fast_path import MAX_FIELDS, QuickPath
from logstack_django.fields import (
    COERCE,
    COERCED_FIELDS,
    FIELD_ORDER,
    ID,
    OWNED_FIELDS,
    UnfitError,
    level_name,
)
from logstack_django.options import Options
from logstack_django.records import (
    extras,
    message_text,
    translate,
)
from logstack_django.sanitize import MAX_TEXT, Sanitizer, with_short_names
from logstack_django.size_limit import cap_record
from logstack_django.text import safe_text


class JsonFormatter(QuickPath):
    """Formats records as the contract says.

    `options` are those of `logging_config`. `encoder` is for tests.
    """

    def __init__(
        self,
        options: Options | Mapping[str, Any] | None = None,
        encoder: encoding.Encoder | None = None,
    ) -> None:
        super().__init__(options, encoder)
        # How many records could not be formatted and were replaced by a constant line.
        self.failures = 0

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON, without the newline."""
        return self.format_line(record)[:-1].decode()

    def format_line(self, record: logging.LogRecord) -> bytes:
        """The record as one line of UTF-8 JSON that ends in a newline. Never raises."""
        try:
            try:
                line = self._format_quick(record)
            except (TypeError, ValueError, ArithmeticError):  # a lone surrogate; unfit arguments
                line = None
            if line is None or len(line) >= self.options.max_record_bytes:
                line = self._format_careful(record)
            return line
        except Exception as error:  # RecursionError, too, which logging would pass on to the caller
            self.failures += 1
            return self._format_failure(record, error)

    # --- careful path ---------------------------------------------------------------------------

    def _format_careful(self, record: logging.LogRecord) -> bytes:
        sanitizer = Sanitizer(self.redactor, max(MAX_TEXT, 4 * self.options.max_record_bytes))
        translation = translate(record)
        given = extras(record)
        message = None
        if translation is not None:
            for name in ("request", "status_code"):
                given.pop(name, None)
            given = {**translation.fields, **given}
            message = translation.message
        if message is None:
            message = message_text(record, sanitizer)
        if record.stack_info and not record.exc_info:
            given["stack_info"] = record.stack_info
        current = current_context_var.get()
        if current is None and str(record.name).startswith("celery."):
            current = find_task_context(record)
        fields = dict(current.fields()) if current is not None else {}
        known, more = self._sort_fields(fields, sanitizer)
        event_known, event_more = self._sort_fields(given, sanitizer)
        known.update(event_known)
        more.update(event_more)
        live = telemetry.live_trace_id()
        if live:
            known["trace_id"] = live
        out: dict[str, Any] = self._head(record, sanitizer)
        out["message"] = sanitizer.contract_text(message)
        out.update(self._service)
        known.update(self._error_fields(record, sanitizer))
        for name in FIELD_ORDER:
            if name in known:
                out[name] = known[name]
        if sanitizer.truncated:
            out["truncated"] = True
        out.update(more)
        line = encoding.escape_line_separators(self._encode(out) + b"\n")
        if len(line) >= self.options.max_record_bytes:
            line = cap_record(out, self.options.max_record_bytes, self._encode)
        return line

    def _head(self, record: logging.LogRecord, sanitizer: Sanitizer) -> dict[str, Any]:
        created = record.created
        if not isinstance(created, int | float) or not 0 <= created < 2**35:
            created = time.time()
        level = record.levelno if isinstance(record.levelno, int) else logging.INFO
        name = sanitizer.contract_text(safe_text(record.name), 256)
        return {
            "timestamp": f"{self._timestamp(created).decode()}Z",
            "level": level_name(level),
            "logger_name": name or "root",
        }

    def _sort_fields(
        self, fields: Mapping[Any, Any], sanitizer: Sanitizer
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Clean `fields`, apart into those of the contract (in its types) and the others."""
        known: dict[str, Any] = {}
        more: dict[str, Any] = {}
        for key, value in fields.items():
            name = key if type(key) is str else safe_text(key)
            kind = COERCED_FIELDS.get(name)
            if kind is None and len(more) >= MAX_FIELDS:
                sanitizer.truncated = True
                continue
            # A contract field's own name is no reason to mask it (session_id is a hash).
            if kind is None:
                sanitizer.make_room()
                clean = sanitizer.member(name, value)
            elif kind == ID and type(value) is int:
                clean = value  # an id may look like a card number
            else:
                clean = sanitizer.contract_value(value)
            if clean is None or clean == "":
                continue
            if kind is not None:
                try:
                    known[name] = COERCE[kind](clean)
                    continue
                except UnfitError:
                    name = f"extra_{name}"
            elif name in OWNED_FIELDS or not name:
                name = f"extra_{name}"
            if len(more) >= MAX_FIELDS:
                sanitizer.truncated = True
                continue
            more[sanitizer.name(name)] = clean
        return known, with_short_names(more, self._encode) or more

    def _error_fields(self, record: logging.LogRecord, sanitizer: Sanitizer) -> dict[str, Any]:
        info: Any = record.exc_info
        if isinstance(info, BaseException):
            info = (type(info), info, info.__traceback__)
        if isinstance(info, tuple) and len(info) == 3 and isinstance(info[1], BaseException):
            fields, truncated = self._errors.fields(info[1], info[2])
            sanitizer.truncated = sanitizer.truncated or truncated
            return fields
        if isinstance(record.exc_text, str) and record.exc_text:
            # Only the text is left when the record came from another process.
            return {"stack_trace": sanitizer.contract_text(record.exc_text)}
        return {}

    # --- last resort ----------------------------------------------------------------------------

    def _format_failure(self, record: logging.LogRecord, error: Exception) -> bytes:
        """A line that is made of nothing but what cannot fail."""
        level = record.levelno if type(record.levelno) is int else logging.ERROR
        name = record.name if type(record.name) is str and record.name.isascii() else "root"
        out = {
            "timestamp": f"{self._timestamp(time.time()).decode()}Z",
            "level": level_name(level),
            "logger_name": name[:256] or "root",
            "message": "A log record could not be formatted",
            **self._service,
            "event_type": "log_record_unformattable",
            "format_error": type(error).__name__[:100].encode("ascii", "replace").decode(),
        }
        return self._encode(out) + b"\n"
