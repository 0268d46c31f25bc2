"""System checks: one numbered warning per misconfiguration, with a hint how to fix it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning

from logstack_django.config import MAIL_HANDLER, current_options, find_options
from logstack_django.options import unknown_variables

MIDDLEWARE = "logstack_django.middleware.RequestLogMiddleware"
_HANDLER = "logstack_django.handlers.JsonHandler"
_ROTATING = ("RotatingFileHandler", "TimedRotatingFileHandler", "ConcurrentRotatingFileHandler")
_PRODUCTION = ("prod", "production", "live")


def check_logging(**kwargs: Any) -> list[CheckMessage]:
    """W001 to W003 and W006 to W009: the LOGGING setting."""
    config = getattr(settings, "LOGGING", None)
    if not isinstance(config, Mapping) or find_options(config) is None:
        return [
            _warning(
                7,
                "LOGGING is not the result of logstack_django.logging_config().",
                'Set LOGGING = logstack_django.logging_config(service="...") in the settings.',
            )
        ]
    return [
        *_check_rotation(config),
        *_check_existing_loggers(config),
        *_check_debug_level(config),
        *_check_duplicates(config),
        *_check_sink(),
        *_check_environment(),
    ]


def check_middleware(**kwargs: Any) -> list[CheckMessage]:
    """W004 and W005: the MIDDLEWARE setting."""
    middleware = list(settings.MIDDLEWARE or ())
    if MIDDLEWARE not in middleware:
        return [
            _warning(
                4,
                "The request log middleware is not installed: records have no request id, and "
                "requests are not logged.",
                f'Add "{MIDDLEWARE}" at the top of MIDDLEWARE.',
            )
        ]
    before = middleware[: middleware.index(MIDDLEWARE)]
    late = [path for path in before if path.startswith("django.")]
    if late:
        return [
            _warning(
                5,
                f"The request log middleware comes after {late[0]}, whose records have no request "
                "id and whose own responses are not in the access log.",
                f'Move "{MIDDLEWARE}" to the top of MIDDLEWARE.',
            )
        ]
    if middleware.count(MIDDLEWARE) > 1:
        return [
            _warning(
                5,
                "The request log middleware is listed twice, so each request is logged twice.",
                f'Keep only the first "{MIDDLEWARE}" in MIDDLEWARE.',
            )
        ]
    return []


def check_mail(**kwargs: Any) -> list[CheckMessage]:
    """W010: mails to ADMINS."""
    config = getattr(settings, "LOGGING", None)
    if not settings.ADMINS or not isinstance(config, Mapping):
        return []
    names = [_class_name(handler) for handler in _handlers(config).values()]
    if any(name.endswith(("AdminEmailHandler", "AdminMailHandler")) for name in names):
        return []
    return [
        _warning(
            10,
            "ADMINS is set, but no handler in LOGGING sends them mails.",
            f'Add a handler with the class "{MAIL_HANDLER}" to logger "django", as '
            "logging_config() does, or empty ADMINS.",
        )
    ]


def _warning(number: int, text: str, hint: str) -> CheckMessage:
    return Warning(text, hint=hint, id=f"logstack_django.W{number:03d}")


def _handlers(config: Mapping[str, Any]) -> Mapping[str, Any]:
    found = config.get("handlers")
    return found if isinstance(found, Mapping) else {}


def _class_name(handler: Any) -> str:
    if not isinstance(handler, Mapping):
        return ""
    return str(handler.get("class") or handler.get("()") or "")


def _check_rotation(config: Mapping[str, Any]) -> Iterator[CheckMessage]:
    for name, handler in _handlers(config).items():
        if _class_name(handler).rpartition(".")[2] in _ROTATING:
            yield _warning(
                1,
                f"Handler {name!r} rotates its file itself, which loses records when several "
                "worker processes write to it.",
                'Use sink="file" and rotate with logrotate: the renamed file is reopened.',
            )


def _check_existing_loggers(config: Mapping[str, Any]) -> Iterator[CheckMessage]:
    # True is what logging assumes when the key is missing.
    if config.get("disable_existing_loggers", True):
        yield _warning(
            2,
            "disable_existing_loggers silences every existing logger, including those of gunicorn "
            "and uvicorn.",
            "Set LOGGING['disable_existing_loggers'] = False, as logging_config() does.",
        )


def _check_debug_level(config: Mapping[str, Any]) -> Iterator[CheckMessage]:
    if current_options().environment.lower() not in _PRODUCTION:
        return
    for name, logger in _loggers(config):
        level = logger.get("level")
        if level in ("DEBUG", "NOTSET", 10, 0):
            yield _warning(
                3,
                f"Logger {name or 'root'!r} has level {level} in environment "
                f"{current_options().environment!r}.",
                f"Set LOGSTACK_DJANGO_LEVELS={name + '=' if name else ''}INFO, or the argument "
                "`levels`.",
            )


def _loggers(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    root = config.get("root")
    if isinstance(root, Mapping):
        yield "", root
    loggers = config.get("loggers")
    for name, logger in loggers.items() if isinstance(loggers, Mapping) else ():
        if isinstance(logger, Mapping):
            yield str(name), logger


def _check_duplicates(config: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """A record that reaches two JSON handlers, or one of them twice, is written twice."""
    ours = {name for name, found in _handlers(config).items() if _class_name(found) == _HANDLER}
    loggers = dict(_loggers(config))
    for name, logger in loggers.items():
        own = [found for found in logger.get("handlers") or () if found in ours]
        inherited = [
            above for above in _ancestors(name, loggers) if ours & set(above.get("handlers") or ())
        ]
        if len(own) > 1 or (own and inherited):
            yield _warning(
                6,
                f"Records of logger {name or 'root'!r} are written more than once, by "
                f"{', '.join(sorted({*own, *_handler_names(inherited, ours)}))}.",
                f"Remove the handlers of logger {name!r} (its records reach the root logger), or "
                "set its 'propagate' to False.",
            )


def _handler_names(loggers: list[Mapping[str, Any]], ours: set[str]) -> set[str]:
    return {found for logger in loggers for found in logger.get("handlers") or () if found in ours}


def _ancestors(name: str, loggers: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The configured loggers above `name` to which its records propagate."""
    while name and loggers.get(name, {}).get("propagate", True):
        name = name.rpartition(".")[0]
        if name in loggers:
            yield loggers[name]


def _check_sink() -> Iterator[CheckMessage]:
    options = current_options()
    if options.sink != "file":
        return
    folder = Path(options.path).absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent  # the handler creates what is missing
    target = Path(options.path)
    writable = os.access(target if target.exists() else folder, os.W_OK)
    if not writable or target.is_dir():
        yield _warning(
            8,
            f"This user cannot write the log file {options.path!r}.",
            "Make it writable for the user of the application, or set LOGSTACK_DJANGO_PATH to "
            "another file.",
        )


def _check_environment() -> Iterator[CheckMessage]:
    for name, hint in unknown_variables(os.environ):
        yield _warning(
            9,
            f"The environment variable {name} matches no argument of logging_config(){hint}.",
            "Correct the name or unset the variable: it has no effect.",
        )
