"""Builds Django's LOGGING setting; called from settings.py."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from logstack_django.options import Options, resolve_options
from logstack_django.redaction import Redactor
from logstack_django.sources.registry import FILTERS, LOGGERS

# Key in LOGGING under which the middleware and the checks find the settings.
OPTIONS_KEY = "logstack_django"
HANDLER = "logstack"
MAIL_HANDLER = "logstack_django.mail.AdminMailHandler"
JSON_HANDLER = "logstack_django.handlers.JsonHandler"


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
    capture_uncaught: bool | None = None,
    handlers: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The LOGGING setting. Each argument can also come from LOGSTACK_DJANGO_<ARGUMENT>.

    The environment variable takes precedence, so that one build runs everywhere. Lists are
    comma-separated or JSON; levels are written `INFO,some.logger=DEBUG`. `handlers` are further
    handlers of the root logger, as in `logging.config`; `options.Options` explains the others.
    Raises ImproperlyConfigured, which names the argument and the expected value.
    """
    given = locals()
    further = given.pop("handlers") or {}
    config = build_config(resolve_options(given))
    config["handlers"].update(further)
    config["root"]["handlers"] += further
    return config


def build_config(options: Options) -> dict[str, Any]:
    """The LOGGING setting for resolved options. Raises ImproperlyConfigured without a service."""
    if not options.service:
        raise ImproperlyConfigured(
            "logstack_django: service (or LOGSTACK_DJANGO_SERVICE): expected the name of the "
            "application, got nothing"
        )
    levels = {"": "INFO", **options.levels}
    loggers: dict[str, dict[str, Any]] = {}
    for name, logger in LOGGERS.items():
        loggers[name] = {key: value for key, value in logger.items() if key != "access"}
    for name, level in levels.items():
        if name:
            loggers.setdefault(name, {})["level"] = level
    for name in (name for name, logger in LOGGERS.items() if logger.get("access")):
        if options.server_access_log:
            loggers[name].setdefault("level", "INFO")
        else:
            loggers[name] = {"handlers": [], "propagate": False, "level": _OFF}
    loggers["django"]["handlers"] = ["mail_admins"]
    filters: dict[str, Any] = {name: dict(found) for name, found in FILTERS.items()}
    if options.access_log:
        for name, kind in _DOUBLES.items():
            filters[f"logstack_{kind}"] = {"()": f"logstack_django.filters.{kind}"}
            loggers[name]["filters"] = [f"logstack_{kind}"]
    plain = options.as_mapping()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": filters,
        "handlers": {
            HANDLER: {"()": JSON_HANDLER, "options": plain},
            # As in Django's own configuration; without ADMINS it sends nothing.
            "mail_admins": {"()": MAIL_HANDLER, "level": "ERROR"},
        },
        "root": {"handlers": [HANDLER], "level": levels[""]},
        "loggers": loggers,
        OPTIONS_KEY: plain,
    }


_OFF = logging.CRITICAL + 10
# Loggers of development servers that log what the middleware logs.
_DOUBLES = {"django.server": "NotServedFilter", "django.channels.server": "HttpFilter"}


def current_options() -> Options:
    """The options in Django's LOGGING setting, also of a handler in one of the project's own; the
    defaults if there are none."""
    from django.conf import settings

    found = find_options(getattr(settings, "LOGGING", None))
    return Options.from_mapping(found) if found is not None else Options()


def find_options(config: Any) -> Mapping[str, Any] | None:
    """The options in a LOGGING setting."""
    if not isinstance(config, Mapping):
        return None
    plain = config.get(OPTIONS_KEY)
    if isinstance(plain, Mapping):
        return plain
    handlers = config.get("handlers")
    for handler in handlers.values() if isinstance(handlers, Mapping) else ():
        if isinstance(handler, Mapping) and JSON_HANDLER in (
            handler.get("()"),
            handler.get("class"),
        ):
            given = handler.get("options")
            return given.as_mapping() if isinstance(given, Options) else given or {}
    return None


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
