"""Celery: the fields of a worker's records, and the context of the task that they describe."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from logstack_django.contexts import Context
from logstack_django.redaction import Redactor
from logstack_django.sources.source import INHERIT, Source, Translation

_MAX_KNOWN = 10_000
_known: OrderedDict[str, Context] = OrderedDict()

_EVENTS = (  # by the argument that Celery passes
    ("runtime", "task_succeeded"),
    ("description", "task_failed"),
    ("eta", "task_received"),
    ("exc", "task_retried"),
)


def remember_task(task_id: str, context: Context) -> None:
    """Store the context of a received task; the oldest is dropped above the limit."""
    _known[task_id] = context
    while len(_known) > _MAX_KNOWN:
        _known.popitem(last=False)


def find_task_context(record: logging.LogRecord) -> Context | None:
    """Context of the task that a record of Celery's main process names."""
    args: Any = record.args
    values = args.values() if isinstance(args, Mapping) else args or ()
    for value in values:
        if type(value) is str and value in _known:
            return _known[value]
    return None


def translate(record: logging.LogRecord, redactor: Redactor | None) -> Translation | None:
    """Fields that a record of Celery holds in its arguments; `data` are these again."""
    return Translation(_task_fields(record.args), None, ("data",), find_task_context(record))


def _task_fields(args: Any) -> dict[str, Any]:
    if not isinstance(args, Mapping) or "id" not in args or "name" not in args:
        return {}
    fields: dict[str, Any] = {}
    for mark, event_type in _EVENTS:
        if mark in args:
            fields["event_type"] = event_type
            break
    runtime = args.get("runtime")
    if isinstance(runtime, int | float):
        fields["duration_ms"] = round(runtime * 1000, 3)
    fields["task_id"] = args["id"]
    fields["task_name"] = args["name"]
    return fields


SOURCE = Source(
    loggers={"celery": INHERIT, "celery.task": INHERIT, "celery.redirected": INHERIT},
    translators={"celery.": translate},
)
