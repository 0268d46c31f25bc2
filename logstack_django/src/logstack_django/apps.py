"""Django application: connects the signals and registers the system checks."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register


class LogstackDjangoConfig(AppConfig):
    """Structured JSON logging."""

    name = "logstack_django"
    label = "logstack_django"
    verbose_name = "Logstack"

    def ready(self) -> None:
        """Connect signals and checks."""
        from logstack_django import checks, security

        security.connect_signals()
        register(checks.check_logging)
        register(checks.check_middleware)
        try:
            from logstack_django import celery
        except ImportError:
            return
        celery.connect_signals()
