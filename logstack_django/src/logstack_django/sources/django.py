"""Django: requests, security, runserver, SQL, tasks."""

from __future__ import annotations

import logging
import re
from typing import Any

from logstack_django.paths import safe_path
from logstack_django.redaction import Redactor
from logstack_django.sources.source import INFO, INHERIT, Source, Translation
from logstack_django.text import safe_text


def translate_request(record: logging.LogRecord, redactor: Redactor | None) -> Translation | None:
    """4xx and 5xx, CSRF failures, suspicious requests: method, path and status."""
    attributes = record.__dict__
    request = attributes.get("request")
    status = attributes.get("status_code")
    fields: dict[str, Any] = {}
    message = None
    if status == 403:
        fields["event_type"] = "permission_denied"
    if hasattr(type(request), "build_absolute_uri"):
        path = safe_path(request, redactor)
        message = _replace_path(record, request.path, path)  # type: ignore[union-attr]
        fields["method"] = request.method  # type: ignore[union-attr]
        fields["path"] = path
    fields["status"] = status
    return Translation(fields, message, ("request", "status_code"))


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


def translate_runserver(record: logging.LogRecord, redactor: Redactor | None) -> Translation | None:
    """The line of a request that the middleware did not log, such as one for a static file."""
    if not isinstance(record.args, tuple) or len(record.args) != 3:
        return Translation(hidden=("request", "server_time"))
    request_line, status, size = record.args
    method, _, rest = str(request_line).partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    fields = {
        "method": method,
        "path": path,
        "status": int(str(status)),
        "response_bytes": int(str(size)) if str(size).isdigit() else None,
    }
    # server_time is the timestamp again.
    return Translation(fields, f"{method} {path} {status}", ("request", "server_time"))


_TARGET = re.compile(
    r"""\s*(INSERT\ INTO|UPDATE|DELETE\ FROM|SELECT\b[^']*?\bFROM|[A-Za-z]+)
        (?:\s+("[A-Za-z0-9_."]+"|`[A-Za-z0-9_.`]+`))?""",
    re.VERBOSE | re.IGNORECASE,
)


def translate_sql(record: logging.LogRecord, redactor: Redactor | None) -> Translation | None:
    """A statement without its parameters, which are values of the application's rows.

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
    seconds = attributes.get("duration")
    fields: dict[str, Any] = {}
    if isinstance(seconds, int | float):
        fields["duration_ms"] = round(seconds * 1000, 3)
    return Translation(fields, sql, ("sql", "params", "duration"))


_STATES = {"enqueued": "task_enqueued", "RUNNING": "task_started"}
_STATES |= {"SUCCESSFUL": "task_succeeded", "FAILED": "task_failed"}


def translate_task(record: logging.LogRecord, redactor: Redactor | None) -> Translation | None:
    """A task of django.tasks: its id, name and what happened to it."""
    task_id, name, state = record.args  # type: ignore[misc]
    state = "enqueued" if "enqueued" in str(record.msg) else str(getattr(state, "value", state))
    fields = {"event_type": _STATES.get(state), "task_id": task_id, "task_name": name}
    return Translation(fields)


SOURCE = Source(
    loggers={
        "django": {**INFO, "filters": ["logstack_failures"]},
        "django.server": INHERIT,
        "django.channels.server": INHERIT,
    },
    translators={
        "django": translate_request,
        "django.request": translate_request,
        "django.security.": translate_request,
        "django.server": translate_runserver,
        "django.db.backends": translate_sql,
        "django.db.backends.schema": translate_sql,
        "django.tasks": translate_task,
    },
    filters={"logstack_failures": {"()": "logstack_django.filters.FailureFilter"}},
)
