"""Carries the context to Celery tasks and back, and keeps a worker's output JSON."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from celery import signals

from logstack_django.contexts import Context, current, new_request_id
from logstack_django.fields import CONTEXT_FIELDS

HEADER = "logstack_context"
_MAX_KNOWN = 10_000


def connect_signals() -> None:
    """Listen to Celery's signals; connecting again changes nothing."""
    uid = "logstack_django"
    signals.before_task_publish.connect(send_context, weak=False, dispatch_uid=uid)
    signals.task_prerun.connect(open_context, weak=False, dispatch_uid=uid)
    signals.task_postrun.connect(close_context, weak=False, dispatch_uid=uid)
    signals.task_received.connect(remember_context, weak=False, dispatch_uid=uid)
    signals.setup_logging.connect(set_up_logging, weak=False, dispatch_uid=uid)


def send_context(headers: Any = None, **kwargs: Any) -> None:
    """Put the fields of the current context into the message of a task."""
    found = current.get()
    if found is None or not isinstance(headers, dict) or HEADER in headers:
        return
    fields = found.fields()
    headers[HEADER] = {
        name: fields[name] if isinstance(fields[name], int) else str(fields[name])
        for name in CONTEXT_FIELDS
        if fields.get(name) is not None
    }


def open_context(task_id: Any = None, task: Any = None, **kwargs: Any) -> None:
    """Open the context of a task, before it runs."""
    request = getattr(task, "request", None)
    current.set(_context_of(getattr(request, HEADER, None), task_id, task))


def close_context(task: Any = None, **kwargs: Any) -> None:
    """Close it. A task that runs eagerly gives the caller its context back by `_before`."""
    current.set(None)


def _context_of(header: Any, task_id: Any, task: Any) -> Context:
    given = header if isinstance(header, dict) else {}
    fields = {name: given[name] for name in CONTEXT_FIELDS if given.get(name) is not None}
    fields.setdefault("request_id", new_request_id())
    if task_id:
        fields["task_id"] = task_id
    name = getattr(task, "name", None)
    if name:
        fields["task_name"] = name
    return Context(fields)


# Context of the tasks that the worker's main process knows, for what it says about them itself.
_known: OrderedDict[str, Context] = OrderedDict()


def remember_context(request: Any = None, **kwargs: Any) -> None:
    """Note the context of a task that has arrived."""


def set_up_logging(**kwargs: Any) -> None:
    """Being connected keeps Celery from putting its text handlers in place of ours."""
