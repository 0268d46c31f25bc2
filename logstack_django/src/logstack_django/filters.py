"""Filters of loggers that would repeat what the middleware or a stream has logged."""

from __future__ import annotations

import contextlib
import logging
import threading

from logstack_django.contexts import current

_served = threading.local()


def mark_served() -> None:
    """Note that the middleware logs the request of this thread."""
    _served.request = True


class NotServedFilter(logging.Filter):
    """On `django.server`: drops the line of a request that has an access record already.

    runserver serves each connection in one thread: the middleware sets a mark there, and the line
    for the same request clears it. Static files never reach the middleware: their lines are kept.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written."""
        if not (isinstance(record.args, tuple) and len(record.args) == 3):
            return True
        served = getattr(_served, "request", False)
        _served.request = False
        return not served


class HttpFilter(logging.Filter):
    """On `django.channels.server`, where daphne's runserver logs: drops the lines of HTTP requests,
    which the middleware logs. Lines of WebSockets are kept."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written."""
        return not (isinstance(record.args, dict) and "status" in record.args)


class FailureFilter(logging.Filter):
    """On `django`, where django-ninja logs an exception itself when DEBUG is on: notes it, so that
    the middleware does not log the failed response as another error."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keeps the record."""
        found = current.get()
        if record.exc_info and found is not None and found.request is not None:
            found.request.failed = True
        return True


_LOGGED = "_logstack_logged"


def mark_logged(error: BaseException) -> None:
    """Note that an exception was logged with its request, so that the server does not repeat it."""
    with contextlib.suppress(Exception):  # a class with __slots__: logged twice
        setattr(error, _LOGGED, True)


class LoggedFilter(logging.Filter):
    """On servers' error loggers: drops an exception that was logged where its request was known."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written."""
        info = record.exc_info
        error = info[1] if isinstance(info, tuple) and len(info) == 3 else info
        return not getattr(error, _LOGGED, False)
