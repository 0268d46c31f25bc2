"""Passes the context to Celery tasks.

Message headers carry the context fields to the worker, which opens a context for the task and
closes it afterwards. The Django application connects the signals when Celery is installed.
"""

from __future__ import annotations

import re
from typing import Any

from celery import signals

from logstack_django.contexts import Context, current, new_request_id
from logstack_django.fields import CONTEXT_FIELDS, INT_MAX, INT_MIN
from logstack_django.text import safe_text

HEADER = "logstack_context"
_UUID = re.compile(r"[0-9a-f]{32}")
_DEFAULT_REQUEST = "celery.worker.request:Request"
_OWN_REQUEST = "logstack_django.celery_request:ContextRequest"

# The context before a task that runs in the thread of its caller (eager mode).
_before: dict[str, Context | None] = {}


def connect_signals() -> None:
    """Connect to Celery's signals; safe to call twice."""
    uid = "logstack_django"
    signals.before_task_publish.connect(send_context, weak=False, dispatch_uid=uid)
    signals.task_prerun.connect(open_context, weak=False, dispatch_uid=uid)
    signals.task_postrun.connect(close_context, weak=False, dispatch_uid=uid)
    signals.celeryd_init.connect(use_own_request, weak=False, dispatch_uid=uid)
    signals.celeryd_after_setup.connect(redirect_prints, weak=False, dispatch_uid=uid)
    signals.setup_logging.connect(keep_logging, weak=False, dispatch_uid=uid)


def send_context(headers: Any = None, **kwargs: Any) -> None:
    """Add the fields of the current context to the message of a task."""
    found = current.get()
    if found is None or not isinstance(headers, dict) or HEADER in headers:
        return
    fields = found.fields()
    headers[HEADER] = {
        name: _to_plain(fields[name]) for name in CONTEXT_FIELDS if fields.get(name) is not None
    }


def open_context(task_id: Any = None, task: Any = None, **kwargs: Any) -> None:
    """Open the context of a task, before it runs."""
    request = getattr(task, "request", None)
    before = current.get()
    _before[str(task_id)] = before
    if getattr(request, "is_eager", False) and before is not None:
        given = before.fields()
    else:
        given = read_header(getattr(request, HEADER, None), task_id)
    fields = {"request_id": new_request_id(), **given, "task_id": task_id}
    name = getattr(task, "name", None)
    if name:
        fields["task_name"] = name
    current.set(Context(fields))


def close_context(task_id: Any = None, **kwargs: Any) -> None:
    """Close the context of a task, however it ended."""
    current.set(_before.pop(str(task_id), None))


def read_header(header: Any, task_id: Any) -> dict[str, Any]:
    """The context fields of a message; all other names are ignored.

    Without a sender's request the request id is made of the task's, so that the record of a task's
    arrival, in another process, has the same.
    """
    given = header if isinstance(header, dict) else {}
    own = str(task_id).replace("-", "")
    fallback = own if _UUID.fullmatch(own) else new_request_id()
    return {"request_id": fallback} | {
        name: given[name] for name in CONTEXT_FIELDS if given.get(name) is not None
    }


def use_own_request(**kwargs: Any) -> None:
    """Give the worker's main process the contexts of received tasks."""
    from celery.app.task import Task

    if Task.Request == _DEFAULT_REQUEST:  # not a custom one of the application
        Task.Request = _OWN_REQUEST


def redirect_prints(instance: Any = None, **kwargs: Any) -> None:
    """Log what tasks print, as Celery does when it configures logging."""
    if getattr(instance, "redirect_stdouts", False):
        instance.app.log.redirect_stdouts(instance.redirect_stdouts_level)


def keep_logging(**kwargs: Any) -> None:
    """A receiver of this signal keeps Celery from installing its text handlers."""


def _to_plain(value: Any) -> Any:
    """`value` in a type that every serializer accepts."""
    if type(value) is int and INT_MIN <= value <= INT_MAX:
        return value
    return safe_text(value)
