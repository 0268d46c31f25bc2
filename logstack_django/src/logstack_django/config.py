"""Builds Django's LOGGING setting; called from settings.py."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from logstack_django.options import Options, resolve_options
from logstack_django.redaction import Redactor

# Loggers that frameworks give handlers. These are removed and the records propagate, so that each
# is written once, as JSON.
FRAMEWORK_LOGGERS = (
    "django",
    "django.server",
    "gunicorn",
    "gunicorn.error",
    "gunicorn.access",
    "uvicorn",
    "uvicorn.error",
    "uvicorn.asgi",
    "uvicorn.access",
    "celery",
    "celery.task",
    "celery.redirected",
)
SERVER_ACCESS_LOGGERS = ("gunicorn.access", "uvicorn.access")
# Key in LOGGING under which the middleware and the checks find the settings.
OPTIONS_KEY = "logstack_django"
HANDLER = "logstack"


def logging_config(
    service: str | None = None,
    *,
    environment: str | None = None,
    sink: str | None = None,
    path: Any = None,
    levels: Mapping[str, str | int] | None = None,
    user_id_field: str | None = None,
    username_field: str | None = None,
    organization_fields: Iterable[str] | None = None,
    trusted_proxies: Iterable[str] | None = None,
    request_id_header: str | None = None,
    access_log: bool | None = None,
    server_access_log: bool | None = None,
    quiet_paths: Iterable[str] | None = None,
    slow_request_ms: float | None = None,
    redaction: bool | None = None,
    redact_keys: Iterable[str] | None = None,
    keep_keys: Iterable[str] | None = None,
    redact_patterns: Iterable[str] | None = None,
    redact_personal: Iterable[str] | None = None,
    max_record_bytes: int | None = None,
    flood_rate: float | None = None,
    flood_burst: int | None = None,
    write_timeout_ms: float | None = None,
) -> dict[str, Any]:
    """The LOGGING setting. Each argument can also come from LOGSTACK_DJANGO_<ARGUMENT>.

    The environment variable takes precedence, so that one build runs everywhere. Lists are
    comma-separated or JSON; levels are written `INFO,some.logger=DEBUG`.

    service             name of the application, the field service_name; required
    environment         dev, staging, prod, ...
    sink                "stdout" (containers), "stderr", or "file" (servers)
    path                the log file for sink="file"; reopened after a rename, shared by workers
    levels              level per logger; "" is the root logger, INFO by default
    user_id_field       attribute of the user for user_id; "pk" by default
    username_field      attribute for username; by default the user model's USERNAME_FIELD
    organization_fields attribute paths on the request for organization_id, the first match is
                        used; only loaded values are read, never by a query
    trusted_proxies     addresses or networks whose X-Forwarded-For and request id are trusted;
                        "unix" for a peer without an address (a Unix socket)
    request_id_header   header of the request id, in requests and responses
    access_log          whether the middleware logs one record per request
    server_access_log   whether gunicorn and uvicorn write their access logs as well
    quiet_paths         paths (or prefixes ending in *) whose successful requests are not logged
    slow_request_ms     requests that take longer are logged as WARNING; 0: never
    redaction           whether secrets are masked
    redact_keys         additional keys whose values are secret; keep_keys: those that are not
    redact_patterns     regular expressions whose matches are masked everywhere
    redact_personal     "email", "phone", "iban": mask these in text, too
    max_record_bytes    limit of each line including its newline, which stays below it
    flood_rate          records per second for each logger and message below ERROR; 0: no limit;
                        flood_burst of them may arrive at once
    write_timeout_ms    how long a log call waits for a stalled reader of a pipe, socket or
                        terminal

    Raises ImproperlyConfigured, which names the argument and the expected value.
    """
    return build_config(resolve_options(locals()))


def build_config(options: Options) -> dict[str, Any]:
    """The LOGGING setting for resolved options. Raises ImproperlyConfigured without a service."""
    if not options.service:
        raise ImproperlyConfigured(
            "logstack_django: service (or LOGSTACK_DJANGO_SERVICE): expected the name of the "
            "application, got nothing"
        )
    levels = {"": "INFO", **options.levels}
    loggers: dict[str, dict[str, Any]] = {
        name: {"handlers": [], "propagate": True, "level": "INFO"}
        if name in ("django", "gunicorn.error", "uvicorn")
        else {"handlers": [], "propagate": True}
        for name in FRAMEWORK_LOGGERS
    }
    for name, level in levels.items():
        if name:
            loggers.setdefault(name, {})["level"] = level
    for name in SERVER_ACCESS_LOGGERS:
        if options.server_access_log:
            loggers[name].setdefault("level", "INFO")
        else:
            loggers[name] = {"handlers": [], "propagate": False, "level": _OFF}
    filters: dict[str, Any] = {}
    if options.access_log:
        filters["logstack_served"] = {"()": "logstack_django.runserver_filter.NotServedFilter"}
        loggers["django.server"]["filters"] = ["logstack_served"]
    plain = options.as_mapping()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": filters,
        "handlers": {HANDLER: {"()": "logstack_django.handlers.JsonHandler", "options": plain}},
        "root": {"handlers": [HANDLER], "level": levels[""]},
        "loggers": loggers,
        OPTIONS_KEY: plain,
    }


_OFF = logging.CRITICAL + 10


def current_options() -> Options:
    """The options in Django's LOGGING setting; the defaults if it was not built here."""
    from django.conf import settings

    logging_setting = getattr(settings, "LOGGING", None)
    plain = logging_setting.get(OPTIONS_KEY) if isinstance(logging_setting, Mapping) else None
    return Options.from_mapping(plain) if isinstance(plain, Mapping) else Options()


def current_redactor() -> Redactor | None:
    """The redactor for `current_options`; None if redaction is disabled."""
    return make_redactor(current_options())


def make_redactor(options: Options) -> Redactor | None:
    """The redactor for the options; None if redaction is disabled."""
    if not options.redaction:
        return None
    return _redactor(
        options.redact_keys, options.keep_keys, options.redact_patterns, options.redact_personal
    )


# Cached, because a redactor caches its decisions on keys.
_redactor = functools.lru_cache(maxsize=8)(Redactor)
