"""The message of a record with its arguments merged in, whatever they are."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from logstack_django.records import PLAIN_TYPES
from logstack_django.sanitize import MAX_STRING, Sanitizer
from logstack_django.text import safe_text


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


def message_text(record: logging.LogRecord, sanitizer: Sanitizer) -> tuple[str, bool]:
    """The message, and whether the arguments fit it. Never raises.

    Arguments that do not fit are appended, so a wrong call loses no record.
    """
    given: Any = record.msg
    template = given if type(given) is str else _template_text(given, sanitizer)
    if not record.args:
        return template, True
    try:
        return str(template % _safe_arguments(record.args, sanitizer)), True
    except Exception:
        shown = safe_text(sanitizer.value(record.args))
        return f"{template[:MAX_STRING]} {shown}", False


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
