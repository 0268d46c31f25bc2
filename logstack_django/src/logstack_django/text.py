"""Conversion to text that never fails."""

from __future__ import annotations

import datetime


def encodable(text: str) -> str:
    """`text` with lone surrogates (undecodable file names) written as escapes."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def iso_text(value: datetime.datetime | datetime.date | datetime.time) -> str:
    """ISO 8601; an aware time in UTC with Z."""
    try:
        if isinstance(value, datetime.datetime) and value.tzinfo is not None:
            value = value.astimezone(datetime.UTC).replace(tzinfo=None)
            return f"{value.isoformat()}Z"
        return str.__str__(value.isoformat())
    except Exception:
        return safe_text(value)


def safe_text(value: object) -> str:
    """str(value), or a placeholder when that fails."""
    try:
        return str.__str__(str(value))
    except Exception:
        return f"<unprintable {type_name(type(value))}>"


def type_name(kind: type) -> str:
    """Qualified name of a class, without `builtins.`."""
    try:
        name = str(kind.__qualname__)
        module = str(kind.__module__)
    except Exception:
        return "object"
    return name if module == "builtins" else f"{module}.{name}"
