"""Logs what would be text on stderr: uncaught exceptions, also of threads, and warnings.

Hooks that others have set, such as an error tracker, are called as well; Python's own, which print,
are not.
"""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import Any

_logger = logging.getLogger("logstack_django.uncaught")
_installed: dict[str, Any] = {}  # the hooks before ours


def install_hooks() -> None:
    """Replace Python's hooks; safe to call twice."""
    logging.captureWarnings(True)
    if _installed:
        return
    _installed.update(main=sys.excepthook, thread=threading.excepthook, last=sys.unraisablehook)
    sys.excepthook = log_uncaught
    threading.excepthook = log_thread
    sys.unraisablehook = log_unraisable


def remove_hooks() -> None:
    """Put the hooks back that were there before, for tests."""
    logging.captureWarnings(False)
    if _installed:
        sys.excepthook, threading.excepthook = _installed["main"], _installed["thread"]
        sys.unraisablehook = _installed["last"]
        _installed.clear()


def log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """One CRITICAL record of what ends the process; in a terminal Python's text as well."""
    hook = _installed["main"]
    if hook is not sys.__excepthook__ or issubclass(kind, KeyboardInterrupt) or _is_shown():
        hook(kind, error, trace)
    if not issubclass(kind, KeyboardInterrupt):
        _log(logging.CRITICAL, "Uncaught exception", error, trace)


def log_thread(given: threading.ExceptHookArgs) -> None:
    """One ERROR record of what ends a thread."""
    if _installed["thread"] is not threading.__excepthook__:
        _installed["thread"](given)
    if given.exc_value is None or issubclass(given.exc_type, SystemExit):
        return
    name = given.thread.name if given.thread is not None else "unknown"
    _log(
        logging.ERROR, "Uncaught exception in thread %s", given.exc_value, given.exc_traceback, name
    )


def log_unraisable(given: Any) -> None:
    """One ERROR record of an exception in a finalizer."""
    if _installed["last"] is not sys.__unraisablehook__:
        _installed["last"](given)
    if given.exc_value is not None:
        text = given.err_msg or "Exception ignored"
        _log(logging.ERROR, "%s", given.exc_value, given.exc_traceback, text)


def _is_shown() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False


def _log(
    level: int, message: str, error: BaseException, trace: TracebackType | None, *args: str
) -> None:
    extra = {"event_type": "uncaught_exception"}
    _logger.log(level, message, *args, exc_info=(type(error), error, trace), extra=extra)
