"""Tasks of Django 6 (`django.tasks`): a context for each run, with its id and name.

They carry no headers: a task that runs in the process of its sender, as with ImmediateBackend, has
the sender's context as well; elsewhere its request id is made of the task's.
"""

from __future__ import annotations

from typing import Any

from logstack_django.contexts import Context, current, new_request_id

_before: dict[str, Context | None] = {}


def connect_signals() -> None:
    """Connect to Django's signals, where it has tasks; safe to call twice."""
    try:
        from django.tasks import signals  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return
    signals.task_started.connect(open_context, dispatch_uid="logstack_django")
    signals.task_finished.connect(close_context, dispatch_uid="logstack_django")


def open_context(sender: Any, task_result: Any, **kwargs: Any) -> None:
    """Open the context of a run."""
    before = current.get()
    _before[task_result.id] = before
    given = before.fields() if before is not None else {}
    fields = {"request_id": new_request_id(), **given}
    fields |= {"task_id": task_result.id, "task_name": task_result.task.module_path}
    current.set(Context(fields))


def close_context(sender: Any, task_result: Any, **kwargs: Any) -> None:
    """Close the context of a run."""
    current.set(_before.pop(task_result.id, None))
