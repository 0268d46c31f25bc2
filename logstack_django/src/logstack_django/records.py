"""Reads the data of applications and frameworks from a LogRecord, without changing it.

Translates the records of Django, gunicorn, uvicorn and Celery, whose data is in `args` or in a
request object, into fields of the contract.
"""

from __future__ import annotations

import logging
import logging.handlers
import re
from collections.abc import Callable, Mapping
from typing import Any

from logstack_django.celery_records import task_fields
from logstack_django.sanitize import MAX_STRING, Sanitizer
from logstack_django.text import safe_text

# Fields that cannot be attributes of a LogRecord travel in this one (see `log_event`).
FIELDS_ATTRIBUTE = "logstack_fields"
# The line of a record that was formatted before it was queued.
LINE_ATTRIBUTE = "logstack_line"

_blank = logging.LogRecord("", 0, "", 0, "", (), None)
STANDARD_COUNT = len(_blank.__dict__)
STANDARD_LAST = list(_blank.__dict__)[-1]
# `message` and `asctime` are written by other formatters; `taskName` exists since Python 3.12.
STANDARD_NAMES = frozenset(_blank.__dict__) | {"message", "asctime", "taskName"}
_NOT_EXTRA = STANDARD_NAMES | {FIELDS_ATTRIBUTE, LINE_ATTRIBUTE, "data"}
# Their records show the parameters of a statement, which are values of the application's rows.
_SQL_LOGGERS = frozenset({"django.db.backends", "django.db.backends.schema"})
_NOT_EXTRA_OF_SQL = _NOT_EXTRA | {"sql", "params"}

# Types that % formats without running code of the application.
PLAIN_TYPES: frozenset[type] = frozenset({str, int, float, bool, type(None)})


def read_extras(record: logging.LogRecord) -> dict[Any, Any]:
    """The fields that the caller added, in the order in which they were given."""
    attributes = record.__dict__
    hidden = _NOT_EXTRA if record.name not in _SQL_LOGGERS else _NOT_EXTRA_OF_SQL
    found = {key: value for key, value in attributes.items() if key not in hidden}
    if record.name == "django.server":
        found.pop("server_time", None)  # the timestamp again
    if "data" in attributes and not record.name.startswith("celery."):
        found["data"] = attributes["data"]
    fields: Any = attributes.get(FIELDS_ATTRIBUTE)
    if issubclass(type(fields), Mapping):
        found.update(fields)
    return found


class _SafeArgument:
    """Replaces an argument of a message, so that its methods are not called unguarded."""

    __slots__ = ("_sanitizer", "_value")

    def __init__(self, value: Any, sanitizer: Sanitizer) -> None:
        self._value = value
        self._sanitizer = sanitizer

    def __str__(self) -> str:
        clean = self._sanitizer.value(self._value)
        return clean if isinstance(clean, str) else str(clean)

    __repr__ = __str__

    def __int__(self) -> int:
        return int(self._value)

    __index__ = __int__

    def __float__(self) -> float:
        return float(self._value)


def message_text(record: logging.LogRecord, sanitizer: Sanitizer) -> str:
    """The message with its arguments merged in; never raises, whatever they are.

    Arguments that do not fit the template are appended, so a wrong call loses no record.
    """
    given: Any = record.msg
    template = given if type(given) is str else _template_text(given, sanitizer)
    if not record.args:
        return template
    try:
        return str(template % _safe_arguments(record.args, sanitizer))
    except Exception:
        shown = safe_text(sanitizer.value(record.args))
        return f"{template[:MAX_STRING]} {shown}"


def _template_text(given: Any, sanitizer: Sanitizer) -> str:
    if issubclass(type(given), str):
        return str.__str__(given)
    return safe_text(sanitizer.value(given))


def _safe_arguments(args: Any, sanitizer: Sanitizer) -> Any:
    if issubclass(type(args), Mapping):
        return {key: _safe_member(key, value, sanitizer) for key, value in args.items()}
    return tuple(_safe_argument(value, sanitizer) for value in args)


def _safe_member(key: Any, value: Any, sanitizer: Sanitizer) -> Any:
    redactor = sanitizer.redactor
    if redactor is not None and isinstance(key, str) and redactor.is_secret_key(key):
        return sanitizer.member(key, value)
    return _safe_argument(value, sanitizer)


def _safe_argument(value: Any, sanitizer: Sanitizer) -> Any:
    return value if type(value) in PLAIN_TYPES else _SafeArgument(value, sanitizer)


class Translation:
    """A framework's record as fields, and a message that replaces its own (or None)."""

    __slots__ = ("fields", "message")

    def __init__(self, message: str | None, fields: dict[str, Any]) -> None:
        self.message = message
        self.fields = fields


def _translate_uvicorn_access(record: logging.LogRecord) -> Translation | None:
    client, method, target, _version, status = record.args  # type: ignore[misc]
    path = str(target).partition("?")[0]
    fields = {
        "client_ip": str(client).rpartition(":")[0].strip("[]"),
        "method": method,
        "path": path,
        "status": status,
    }
    return Translation(f"{method} {path} {status}", fields)


def _translate_gunicorn_access(record: logging.LogRecord) -> Translation | None:
    atoms: Any = record.args
    status = int(atoms["s"])
    fields = {
        "client_ip": atoms["h"],
        "duration_ms": atoms["D"] / 1000,
        "method": atoms["m"],
        "path": atoms["U"],
        "status": status,
        "response_bytes": atoms["B"],
    }
    return Translation(f"{atoms['m']} {atoms['U']} {status}", fields)


def _translate_runserver(record: logging.LogRecord) -> Translation | None:
    request_line, status, size = record.args  # type: ignore[misc]
    method, _, rest = str(request_line).partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    fields = {
        "method": method,
        "path": path,
        "status": int(str(status)),
        "response_bytes": int(str(size)) if str(size).isdigit() else None,
    }
    return Translation(f"{method} {path} {status}", fields)


def _translate_django(record: logging.LogRecord) -> Translation | None:
    """Django's own records about a request: 4xx, 5xx, CSRF failures."""
    attributes = record.__dict__
    request = attributes.get("request")
    status = attributes.get("status_code")
    fields: dict[str, Any] = {}
    message = None
    if status == 403:
        fields["event_type"] = "permission_denied"
    if hasattr(type(request), "build_absolute_uri"):
        # Not at the top: settings import this module when django.http would be too early.
        from logstack_django.paths import safe_path

        path = safe_path(request)  # type: ignore[arg-type]
        message = _replace_path(record, request.path, path)  # type: ignore[union-attr]
        fields["method"] = request.method  # type: ignore[union-attr]
        fields["path"] = path
    fields["status"] = status
    return Translation(message, fields)


def _replace_path(record: logging.LogRecord, path: str, safe: str) -> str | None:
    """The message with `safe` in place of `path`; None if they are the same."""
    if safe == path:
        return None
    try:
        message = safe_text(record.getMessage())
    except Exception:
        return safe  # arguments that do not fit the message
    # Django escapes what it puts into its messages.
    escaped = path.encode("unicode_escape").decode("ascii")
    return message.replace(escaped, safe).replace(path, safe)


_TARGET = re.compile(
    r"""\s*(INSERT\ INTO|UPDATE|DELETE\ FROM|SELECT\b[^']*?\bFROM|[A-Za-z]+)
        (?:\s+("[A-Za-z0-9_."]+"|`[A-Za-z0-9_.`]+`))?""",
    re.VERBOSE | re.IGNORECASE,
)


def _translate_sql(record: logging.LogRecord) -> Translation | None:
    """A statement without its parameters.

    Django fills them into the text of executed statements, with quotes that depend on the database.
    Of such a statement only the verb and the table are shown.
    """
    attributes = record.__dict__
    if "sql" not in attributes:
        return None
    sql = safe_text(attributes["sql"])
    if record.name == "django.db.backends" and attributes.get("params"):
        found = _TARGET.match(sql)
        verb, table = found.groups() if found is not None else ("SQL", None)
        if len(verb) > len("SELECT") and verb[:6].upper() == "SELECT":
            verb = "SELECT … FROM"
        sql = f"{verb} {table} …" if table else f"{verb} …"
    return Translation(sql, {"sql": sql})


_TRANSLATORS: dict[str, Callable[[logging.LogRecord], Translation | None]] = {
    "uvicorn.access": _translate_uvicorn_access,
    "gunicorn.access": _translate_gunicorn_access,
    "django.server": _translate_runserver,
    "django.request": _translate_django,
    "django.security.csrf": _translate_django,
    **dict.fromkeys(_SQL_LOGGERS, _translate_sql),
}
TRANSLATED_LOGGERS = frozenset(_TRANSLATORS)


def translate(record: logging.LogRecord) -> Translation | None:
    """The fields and message of a framework's record; None for every other record."""
    if record.name.startswith("celery."):
        return Translation(None, task_fields(record))
    translator = _TRANSLATORS.get(record.name)
    if translator is None:
        return None
    try:
        return translator(record)
    except Exception:
        return None  # an unknown format: logged like any other record


def make_record(
    level: int, message: str, args: tuple[Any, ...], **fields: Any
) -> logging.LogRecord:
    """A record of the library."""
    record = logging.LogRecord(OWN_LOGGER, level, "", 0, message, args, None)
    record.__dict__[FIELDS_ATTRIBUTE] = fields
    return record


OWN_LOGGER = "logstack_django"
