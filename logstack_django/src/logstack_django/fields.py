"""The log-record contract as the formatter needs it: names, order, owners and types.

`stack/log_record.schema.json` is the source; a test compares this table with it, because an
application installs this library without the rest of the project.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from logstack_django.session_hash import hash_session

ID = "id"
TEXT = "text"
SESSION = "session"  # hashed
NUMBER = "number"
INTEGER = "integer"

# In the order of the contract. The value is the type to which an application's value is coerced.
CONTEXT_FIELDS = {
    "trace_id": TEXT,
    "request_id": TEXT,
    "user_id": ID,
    "username": TEXT,
    "organization_id": ID,
    "session_id": SESSION,
    "client_ip": TEXT,
}
EVENT_FIELDS = {
    "event_type": TEXT,
    "duration_ms": NUMBER,
    "object_id": ID,
    "object_type": TEXT,
    "method": TEXT,
    "route": TEXT,
    "path": TEXT,
    "status": INTEGER,
    "response_bytes": INTEGER,
}
COERCED_FIELDS = CONTEXT_FIELDS | EVENT_FIELDS
HEAD_FIELDS = ("timestamp", "level", "logger_name", "message", "service_name", "environment")
ERROR_FIELDS = ("exception_type", "exception_message", "stack_trace")
AGENT_FIELDS = frozenset(
    {
        *("host", "format", "encoding_repaired", "level_original", "syslog_identifier"),
        *("timestamp_original", "timestamp_invalid"),
    }
)

# An application cannot set these names. The underscored ones are the
# built-in fields of an engine, where an application's value would replace the record's own time
# or text.
OWNED_FIELDS = frozenset(
    {*HEAD_FIELDS, *ERROR_FIELDS, *AGENT_FIELDS, "truncated"}
    | {"_time", "_msg", "_stream", "_stream_id"}
)
FIELD_ORDER = (*HEAD_FIELDS, *CONTEXT_FIELDS, *EVENT_FIELDS, *ERROR_FIELDS, "truncated")

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
_CANONICAL_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)


class UnfitError(Exception):
    """The value cannot be converted to the type of its field."""


def looks_like_integer(text: str) -> bool:
    """Whether `text` is a 64-bit integer in its canonical form."""
    return _CANONICAL_INTEGER.fullmatch(text) is not None and INT_MIN <= int(text) <= INT_MAX


def as_id(value: Any) -> int | str:
    """An identifier: integers and canonical integer text as int, everything else as text."""
    if type(value) is int and INT_MIN <= value <= INT_MAX:
        return value
    if isinstance(value, str):
        return int(value) if looks_like_integer(value) else value
    if isinstance(value, dict | list | bool):
        raise UnfitError
    return str(value)


def as_text(value: Any) -> str:
    """Text; numbers as they print. Containers are unfit."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        raise UnfitError
    return str(value)


def as_number(value: Any) -> int | float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UnfitError
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        raise UnfitError from None
    if not math.isfinite(number):
        raise UnfitError
    return number


def as_integer(value: Any) -> int:
    """A 64-bit integer."""
    if isinstance(value, str) and looks_like_integer(value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not INT_MIN <= value <= INT_MAX:
        raise UnfitError
    return value


COERCE: dict[str, Callable[[Any], Any]] = {
    ID: as_id,
    TEXT: as_text,
    SESSION: lambda value: hash_session(as_text(value)),
    NUMBER: as_number,
    INTEGER: as_integer,
}


def level_name(number: int) -> str:
    """The contract's name for a level number; other numbers are rounded down."""
    if number >= 50:
        return "CRITICAL"
    if number >= 40:
        return "ERROR"
    if number >= 30:
        return "WARNING"
    return "INFO" if number >= 20 else "DEBUG"
