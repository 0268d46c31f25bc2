"""Keeps runserver's own line only for requests that the middleware did not log.

runserver serves each connection in one thread: the middleware sets a mark there, and the line for
the same request clears it. Static files never reach the middleware, so their lines are kept.
"""

from __future__ import annotations

import logging
import threading

_mark = threading.local()


def mark_served() -> None:
    """Note that the middleware logs the request of this thread."""
    _mark.served = True


class NotServedFilter(logging.Filter):
    """On `django.server`: drops the line of a request that has an access record already."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written."""
        if not (isinstance(record.args, tuple) and len(record.args) == 3):
            return True
        served = getattr(_mark, "served", False)
        _mark.served = False
        return not served
