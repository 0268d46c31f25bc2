"""gunicorn, uvicorn, hypercorn and daphne: access lines as fields, errors without decoration."""

from __future__ import annotations

import logging
import re
from typing import Any

from logstack_django.redaction import Redactor
from logstack_django.sources.source import ACCESS, INFO, INHERIT, Source, Translation
from logstack_django.text import safe_text


def _access(method: str, path: str, status: Any, **fields: Any) -> Translation:
    fields = {**fields, "method": method, "path": path, "status": int(str(status))}
    return Translation(fields, f"{method} {path} {status}")


def translate_uvicorn_access(
    record: logging.LogRecord, redactor: Redactor | None
) -> Translation | None:
    """Without the query string."""
    client, method, target, _version, status = record.args  # type: ignore[misc]
    path = str(target).partition("?")[0]
    return _access(method, path, status, client_ip=str(client).rpartition(":")[0].strip("[]"))  # type: ignore[arg-type]


def translate_gunicorn_access(
    record: logging.LogRecord, redactor: Redactor | None
) -> Translation | None:
    """The same atoms as its access log format."""
    atoms: Any = record.args
    fields = {"client_ip": atoms["h"], "duration_ms": atoms["D"] / 1000}
    fields["response_bytes"] = atoms["B"]
    return _access(atoms["m"], atoms["U"], atoms["s"], **fields)


def translate_hypercorn_access(
    record: logging.LogRecord, redactor: Redactor | None
) -> Translation | None:
    """It has named its atoms after gunicorn's."""
    atoms: Any = record.args
    size = str(atoms["B"])
    fields = {
        "client_ip": str(atoms["h"]).rpartition(":")[0].strip("[]"),
        "duration_ms": int(str(atoms["D"])) / 1000,
        "response_bytes": int(size) if size.isdigit() else None,
    }
    return _access(atoms["m"], atoms["U"], atoms["s"], **fields)


_COLOR = re.compile(r"\x1b\[[0-9;]*m")


def translate_daphne_access(
    record: logging.LogRecord, redactor: Redactor | None
) -> Translation | None:
    """The lines of daphne's runserver; those of a WebSocket have no status."""
    details: Any = record.args
    path = str(details["path"]).partition("?")[0]
    client = str(details["client"]).rpartition(":")[0].strip("[]")
    if "status" in details:
        seconds = details["time_taken"]
        translation = _access(details["method"], path, details["status"], client_ip=client)
        translation.fields["duration_ms"] = round(seconds * 1000, 3)
        return translation
    verb = _COLOR.sub("", str(record.msg)).partition(" %")[0]
    return Translation({"client_ip": client, "path": path}, f"{verb} {path}")


def translate_error(record: logging.LogRecord, redactor: Redactor | None) -> Translation | None:
    """uvicorn ends its message with a newline, where the exception would follow."""
    if record.exc_info and type(record.msg) is str and record.msg.endswith("\n"):
        return Translation(message=safe_text(record.getMessage()).rstrip("\n"))
    return Translation()


_ERRORS = {**INHERIT, "filters": ["logstack_logged"]}
SOURCE = Source(
    loggers={
        "gunicorn": INHERIT,
        "gunicorn.error": {**INFO, "filters": ["logstack_logged"]},
        "gunicorn.access": ACCESS,
        "uvicorn": INFO,
        "uvicorn.error": _ERRORS,
        "uvicorn.asgi": INHERIT,
        "uvicorn.access": ACCESS,
        "hypercorn": INFO,
        "hypercorn.error": _ERRORS,
        "hypercorn.access": ACCESS,
        "daphne": INFO,
        "daphne.server": _ERRORS,
    },
    translators={
        "uvicorn.access": translate_uvicorn_access,
        "gunicorn.access": translate_gunicorn_access,
        "hypercorn.access": translate_hypercorn_access,
        "django.channels.server": translate_daphne_access,
        "uvicorn.error": translate_error,
    },
    hidden=frozenset({"color_message"}),
    filters={"logstack_logged": {"()": "logstack_django.filters.LoggedFilter"}},
)
