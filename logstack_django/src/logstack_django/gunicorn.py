"""JSON from gunicorn itself.

    gunicorn --logger-class logstack_django.gunicorn.Logger erp.wsgi

The master process has no Django settings, so it reads its options from LOGSTACK_DJANGO_… variables;
in gunicorn.conf.py `logconfig_dict = logstack_django.gunicorn.logconfig_dict(service="...")` does
the same with arguments. Workers use LOGGING from the settings as soon as Django is set up.
"""

from __future__ import annotations

import logging
from typing import Any

from gunicorn import glogging

from logstack_django.config import build_config
from logstack_django.handlers import JsonHandler
from logstack_django.options import resolve_options


def logconfig_dict(service: str | None = None, **arguments: Any) -> dict[str, Any]:
    """For the setting of this name in gunicorn.conf.py; arguments as for `logging_config`."""
    return build_config(resolve_options({"service": service, **arguments}))


class Logger(glogging.Logger):  # type: ignore[misc]
    """gunicorn's logger, writing JSON; access lines only with `server_access_log`."""

    def setup(self, cfg: Any) -> None:
        """Replace gunicorn's text handlers."""
        super().setup(cfg)
        if cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json:
            return
        handler = JsonHandler(resolve_options({"service": cfg.proc_name}))
        handler._gunicorn = True  # type: ignore[attr-defined] # dropped when gunicorn reloads
        for log in (self.error_log, self.access_log):
            text_handlers = [found for found in log.handlers if getattr(found, "_gunicorn", False)]
            for found in text_handlers:
                log.removeHandler(found)
            if text_handlers and not _reaches_json(log):
                log.addHandler(handler)


def _reaches_json(log: logging.Logger) -> bool:
    """Whether Django's configuration writes this logger's records already (preload_app)."""
    return log.propagate and any(isinstance(found, JsonHandler) for found in logging.root.handlers)
