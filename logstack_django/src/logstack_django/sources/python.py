"""Python itself: warnings, and mappings as messages (also structlog's and loguru's bridges)."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from logstack_django.redaction import Redactor
from logstack_django.sources.source import INHERIT, Source, Translation

# As warnings.formatwarning writes it, with the line of code below.
_WARNING = re.compile(
    r"(?P<place>.{1,1000}?:\d+): (?P<category>\w+): (?P<text>.*?)(?:\n  .*)?", re.S
)
# Processors of structlog add what the record has as well.
_REPEATED = ("level", "log_level", "level_number", "logger", "timestamp", "exc_info", "exception")
_MESSAGES = ("event", "message", "msg")


def translate_warning(record: logging.LogRecord, redactor: Redactor | None) -> Translation | None:
    """What `logging.captureWarnings` logs: the text, its category and its place in the code."""
    text = record.getMessage().rstrip("\n")
    found = _WARNING.fullmatch(text)
    if found is None:
        return Translation(message=text)
    fields = {"warning": found["category"], "warning_at": found["place"]}
    return Translation(fields, found["text"])


def translate_mapping(record: logging.LogRecord) -> Translation | None:
    """A mapping as the message, by structlog's wrap_for_formatter or by hand: its members become
    fields, `event` or `message` the message."""
    given: Any = record.msg
    if not issubclass(type(given), Mapping) or record.args:
        return None
    try:
        fields = {key: value for key, value in given.items() if type(key) is str}
    except Exception:
        return None
    if not fields:
        return None
    message = None
    for name in _MESSAGES:
        if message is None and type(fields.get(name)) is str:
            message = fields.pop(name)
    if "_logger" in record.__dict__:
        for name in _REPEATED:
            fields.pop(name, None)
    return Translation(fields, message)


def mapped_exception(record: logging.LogRecord) -> Any:
    """The exception that structlog leaves in its mapping."""
    given: Any = record.msg
    found = given.get("exc_info") if issubclass(type(given), Mapping) else None
    return found if isinstance(found, BaseException | tuple) else None


SOURCE = Source(
    loggers={"py.warnings": INHERIT},
    translators={"py.warnings": translate_warning},
    # Of structlog's bridge; `extra` is the one of loguru's, whose members become fields.
    hidden=frozenset({"_logger", "_name", "_from_structlog"}),
)
