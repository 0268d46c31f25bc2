"""The names of a LogRecord's attributes, what of them are fields, and records of the library."""

from __future__ import annotations

import logging
import logging.handlers
from collections.abc import Mapping
from typing import Any

# Fields that cannot be attributes of a LogRecord travel in this one (see `log_event`).
FIELDS_ATTRIBUTE = "logstack_fields"
# The line of a record that was formatted before it was queued.
LINE_ATTRIBUTE = "logstack_line"

_blank = logging.LogRecord("", 0, "", 0, "", (), None)
STANDARD_COUNT = len(_blank.__dict__)
STANDARD_LAST = list(_blank.__dict__)[-1]
# `message` and `asctime` are written by other formatters; `taskName` exists since Python 3.12.
STANDARD_NAMES = frozenset(_blank.__dict__) | {"message", "asctime", "taskName"}
_NOT_EXTRA = STANDARD_NAMES | {FIELDS_ATTRIBUTE, LINE_ATTRIBUTE, "extra"}

# Types that % formats without running code of the application.
PLAIN_TYPES: frozenset[type] = frozenset({str, int, float, bool, type(None)})
OWN_LOGGER = "logstack_django"


def read_extras(record: logging.LogRecord, hidden: frozenset[str]) -> dict[Any, Any]:
    """The fields that the caller added, in the order in which they were given, without `hidden`."""
    attributes = record.__dict__
    found = {
        key: value
        for key, value in attributes.items()
        if key not in _NOT_EXTRA and key not in hidden
    }
    extra = attributes.get("extra")
    if type(extra) is dict:  # loguru's bridge
        found = {**extra, **found}
    elif "extra" in attributes:
        found["extra"] = extra
    fields: Any = attributes.get(FIELDS_ATTRIBUTE)
    if issubclass(type(fields), Mapping):
        found.update(fields)
    return found


def make_record(
    level: int, message: str, args: tuple[Any, ...], **fields: Any
) -> logging.LogRecord:
    """A record of the library."""
    record = logging.LogRecord(OWN_LOGGER, level, "", 0, message, args, None)
    record.__dict__[FIELDS_ATTRIBUTE] = fields
    return record
