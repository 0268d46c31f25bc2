"""The request class of a Celery worker's main process, which logs about tasks of its pool.

Celery imports it by name (see `celery.use_own_request`), so only a worker imports it.
"""

from __future__ import annotations

from typing import Any

from celery.worker.request import Request

from logstack_django.celery import HEADER, read_header
from logstack_django.contexts import Context
from logstack_django.sources.celery import remember_task


class ContextRequest(Request):  # type: ignore[misc]
    """Stores the context of the message, for the records "received", "revoked", "timed out"."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields = read_header(self.request_dict.get(HEADER), self.id)
        fields["task_id"] = self.id
        fields["task_name"] = self.name
        remember_task(self.id, Context(fields))
