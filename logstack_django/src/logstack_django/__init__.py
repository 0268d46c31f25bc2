"""Structured JSON logging for Django.

settings.py: LOGGING = logstack_django.logging_config(service="..."), "logstack_django" in
INSTALLED_APPS, "logstack_django.middleware.RequestLogMiddleware" first in MIDDLEWARE.
"""

from __future__ import annotations

from logstack_django.config import logging_config
from logstack_django.contexts import bind, context, current_context, wrap
from logstack_django.events import log_event, timed
from logstack_django.jobs import background_job
from logstack_django.outgoing import outgoing_headers

__all__ = [
    "background_job",
    "bind",
    "context",
    "current_context",
    "log_event",
    "logging_config",
    "outgoing_headers",
    "timed",
    "wrap",
]
__version__ = "0.1.0"
