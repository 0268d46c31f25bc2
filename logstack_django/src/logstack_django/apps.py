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
        from logstack_django import checks, security, tasks, uncaught
        from logstack_django.config import current_options

        security.connect_signals()
        tasks.connect_signals()
        if current_options().capture_uncaught:
            uncaught.install_hooks()
        register(checks.check_logging)
        register(checks.check_middleware)
        register(checks.check_mail)
        try:
            from logstack_django import celery
        except ImportError:
            return
        celery.connect_signals()
