"""Security events from Django's authentication signals: one record each.

The fourth event, `permission_denied`, is Django's own record of a 403 response; `records` sets its
event type.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from logstack_django.config import current_options
from logstack_django.contexts import current
from logstack_django.events import log_event
from logstack_django.requests import client_ip, describe_user

_logger = logging.getLogger("logstack_django.security")


def connect_signals() -> None:
    """Connect to the signals of django.contrib.auth; safe to call twice."""
    from django.contrib.auth import signals

    uid = "logstack_django"
    signals.user_logged_in.connect(log_login, dispatch_uid=uid)
    signals.user_logged_out.connect(log_logout, dispatch_uid=uid)
    signals.user_login_failed.connect(log_failed_login, dispatch_uid=uid)


def log_login(sender: Any, request: Any = None, user: Any = None, **kwargs: Any) -> None:
    """user_login, INFO."""
    _log_user("user_login", "User %s logged in", request, user)


def log_logout(sender: Any, request: Any = None, user: Any = None, **kwargs: Any) -> None:
    """user_logout, INFO; the session may have lost its user before."""
    _log_user("user_logout", "User %s logged out", request, user)


def log_failed_login(
    sender: Any, credentials: Any = None, request: Any = None, **kwargs: Any
) -> None:
    """user_login_failed, WARNING, with the attempted name and the client address."""
    try:
        fields = _client(request)
        username = _tried_username(credentials)
        if username:
            fields["username"] = username
        log_event(
            _logger,
            "user_login_failed",
            "Login failed for user %s",
            username or "?",
            level=logging.WARNING,
            **fields,
        )
    except Exception:
        _logger.warning("Login failed", extra={"event_type": "user_login_failed"})


def _log_user(event_type: str, message: str, request: Any, user: Any) -> None:
    try:
        fields = _client(request)
        described = describe_user(user, current_options()) if user is not None else {}
        log_event(
            _logger, event_type, message, described.get("username", "?"), **fields, **described
        )
    except Exception:
        _logger.info(message, "?", extra={"event_type": event_type})


def _client(request: Any) -> dict[str, Any]:
    """client_ip, unless the middleware has put it into the context."""
    found = current.get()
    meta = getattr(request, "META", None)
    if not isinstance(meta, Mapping) or (found is not None and "client_ip" in found.fields()):
        return {}
    peer = str(meta.get("REMOTE_ADDR") or "")
    forwarded_for = str(meta.get("HTTP_X_FORWARDED_FOR") or "")
    return {"client_ip": client_ip(peer, forwarded_for, current_options())}


def _tried_username(credentials: Any) -> str | None:
    from django.contrib.auth import get_user_model

    if not isinstance(credentials, Mapping):
        return None
    for name in (get_user_model().USERNAME_FIELD, "username", "email"):
        value = credentials.get(name)
        if isinstance(value, str) and value:
            return value[:254]
    return None
