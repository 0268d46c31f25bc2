"""`manage.py logstack_example`: one record of each kind on stdout, in this project's format."""

from __future__ import annotations

import logging
from typing import Any

from django.core.management.base import BaseCommand

from logstack_django import background_job, bind, context, log_event, timed
from logstack_django.config import current_options
from logstack_django.contexts import new_request_id
from logstack_django.testing import capture_logs

logger = logging.getLogger("logstack_django.example")


class Command(BaseCommand):
    """Print one record of each kind."""

    help = "Print one log record of each kind, formatted with this project's settings."

    def handle(self, *args: Any, **options: Any) -> None:
        """Log the examples and print the lines."""
        top = logging.getLogger("logstack_django")
        before, top.propagate = top.propagate, False  # else they are in the log of production
        try:
            with capture_logs("DEBUG", logger=top.name, options=current_options()) as logs:
                log_examples()
        finally:
            top.propagate = before
        for line in logs.lines:
            self.stdout.write(line.decode(), ending="")


def log_examples() -> None:
    """Log one record of each kind."""
    logger.debug("Debug details")
    logger.info("Server started")
    with context(request_id=new_request_id()):
        bind(user_id=123, username="admin_user", organization_id=45)
        log_event(
            logger,
            "organization_created",
            "Organization %s created",
            "ABC",
            object_type="organizations.Organization",
            object_id=789,
        )
        logger.warning("Quota almost exhausted", extra={"used_percent": 93.5})
        with timed("price_list", logger):
            pass
        try:
            raise ValueError("Invalid input provided.")
        except ValueError:
            logger.exception("Cannot save the organization")
        logger.critical("The database is not available")
        logger.info("Secrets are masked: password=hunter2", extra={"api_key": "abc"})
        logger.info("Long values are cut: %s", "x" * 20_000)
    with background_job("example_job"):
        logger.info("Inside a background job")
