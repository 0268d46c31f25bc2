"""Management commands and jobs, each with its own request id."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from logstack_django.contexts import Context, activate, block, new_request_id
from logstack_django.events import log_event

_job_logger = logging.getLogger("logstack_django.jobs")


@block
def background_job(name: str, /, **fields: Any) -> Iterator[None]:
    """Run a management command or job with its own request id.

    Logs `job_started`, then `job_finished` with duration_ms, or `job_failed` (ERROR, with the
    exception, which is raised again). `sys.exit(0)` inside the block counts as finished.
    """
    bound = {"request_id": new_request_id(), "job": name, **fields}
    with activate(Context(bound)):
        started = time.perf_counter()
        log_event(_job_logger, "job_started", "Job %s started", name)
        try:
            yield
        except BaseException as error:
            elapsed = _elapsed_ms(started)
            if isinstance(error, SystemExit) and not error.code:
                log_event(_job_logger, "job_finished", "Job %s finished", name, duration_ms=elapsed)
            else:
                log_event(
                    _job_logger,
                    "job_failed",
                    "Job %s failed",
                    name,
                    level=logging.ERROR,
                    exc_info=error,
                    duration_ms=elapsed,
                )
            raise
        log_event(
            _job_logger, "job_finished", "Job %s finished", name, duration_ms=_elapsed_ms(started)
        )


def _elapsed_ms(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
