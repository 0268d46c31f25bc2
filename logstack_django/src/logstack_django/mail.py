"""E-mails to ADMINS about failed requests, as Django sends them by default."""

from __future__ import annotations

import logging


class AdminMailHandler(logging.Handler):
    """Django's AdminEmailHandler, made when it is needed: logging may be configured without
    settings, in a server's main process."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send a mail, unless DEBUG is on or there are no ADMINS."""
        try:
            from django.conf import settings
            from django.utils.log import AdminEmailHandler

            if settings.configured and settings.ADMINS and not settings.DEBUG:
                AdminEmailHandler().emit(record)
        except Exception as error:
            name = type(error).__name__
            logging.getLogger("logstack_django.mail").warning("cannot mail to ADMINS: %s", name)
