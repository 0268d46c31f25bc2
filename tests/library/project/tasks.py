"""A Celery application whose broker is a folder, and tasks that end in every way."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import celery
from celery.exceptions import Ignore

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.library.project.settings")

logger = logging.getLogger("tests.tasks")
_folder = os.environ.get("PROJECT_BROKER", "")

app = celery.Celery("erp", broker="filesystem://", backend=f"file://{_folder}/results")
app.conf.update(
    broker_transport_options={
        "data_folder_in": f"{_folder}/queue",
        "data_folder_out": f"{_folder}/queue",
        "control_folder": f"{_folder}/control",
        "polling_interval": 0.05,
    },
    broker_connection_retry_on_startup=False,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
)


@app.task  # type: ignore[untyped-decorator]
def work(number: int) -> int:
    """Logs and succeeds."""
    print(f"printed {number}")
    logger.info("Working on %d", number)
    return number


@app.task  # type: ignore[untyped-decorator]
def fail(password: str) -> None:
    """Raises."""
    raise ValueError("task broken, password=hunter2")


@app.task(bind=True, max_retries=1)  # type: ignore[untyped-decorator]
def retry(self: Any) -> None:
    """Fails once."""
    logger.info("Attempt %d", self.request.retries)
    if not self.request.retries:
        raise self.retry(countdown=0.1, exc=ValueError("once"))


@app.task  # type: ignore[untyped-decorator]
def ignore() -> None:
    """Asks to be ignored."""
    raise Ignore


@app.task(soft_time_limit=1)  # type: ignore[untyped-decorator]
def soft() -> None:
    """Takes too long, softly."""
    time.sleep(10)


@app.task(time_limit=1)  # type: ignore[untyped-decorator]
def hard() -> None:
    """Takes too long."""
    time.sleep(10)
