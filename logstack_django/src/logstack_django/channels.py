"""A context for WebSockets, around the router of Channels or any ASGI application:

application = ProtocolTypeRouter({
    "http": get_asgi_application(),
    "websocket": AuthMiddlewareStack(LogContextMiddleware(URLRouter(routes))),
})

Inside of what finds the user: each part of Channels passes a copy of the scope on, so that what is
outside does not see it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from logstack_django.config import current_options, make_redactor
from logstack_django.contexts import Context, activate, new_request_id
from logstack_django.options import Options
from logstack_django.paths import mask_values, secret_texts
from logstack_django.redaction import Redactor
from logstack_django.requests import (
    client_ip,
    describe_user,
    is_trusted,
    read_trace_id,
    valid_request_id,
)

_MOST_LAYERS = 16
_access_logger = logging.getLogger("logstack_django.access")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[Any]]


class ScopeFields:
    """The fields of one connection: its id, trace and client, its user once it is loaded."""

    def __init__(
        self,
        scope: Scope,
        options: Options,
        redactor: Redactor | None,
        captured: dict[str, Any] | None = None,
    ) -> None:
        self._captured_before = captured or {}
        self.failed = False
        self.secrets: tuple[str, ...] = ()
        self._scope = scope
        self._options = options
        self._redactor = redactor
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        peer = str((scope.get("client") or ("",))[0] or "")
        given = headers.get(options.request_id_header.lower(), "")
        believed = is_trusted(peer, options.trusted_proxies) and valid_request_id(given)
        trace_id = read_trace_id(headers.get("traceparent", ""))
        self._fixed: dict[str, Any] = {"trace_id": trace_id} if trace_id else {}
        self._fixed["request_id"] = given if believed else new_request_id()
        address = client_ip(peer, headers.get("x-forwarded-for", ""), options)
        if address:
            self._fixed["client_ip"] = address
        self._seen: list[Any] = []
        self._fields: dict[str, Any] = self._fixed

    def fields(self) -> dict[str, Any]:
        """The fields so far; the same dict as long as nothing changed."""
        seen = [id(self._scope.get(name)) for name in ("user", "url_route")]
        if seen != self._seen:
            self._seen = seen
            self._fields = dict(self._fixed)
            user = self._scope.get("user")
            if user is not None and getattr(user, "is_authenticated", False):
                self._fields.update(describe_user(user, self._options))
            self.secrets = secret_texts(self._captured(), self._redactor)
        return self._fields

    def path(self) -> str:
        """The path with its secret parts masked."""
        return mask_values(str(self._scope.get("path", "")), self._captured(), self._redactor)

    def _captured(self) -> dict[str, Any]:
        route = self._scope.get("url_route") or {}
        found: dict[str, Any] = route.get("kwargs") or self._captured_before
        return found


def captured_by(application: Any, path: str) -> dict[str, Any]:
    """What the router of Channels inside an application will capture of a path."""
    for _ in range(_MOST_LAYERS):
        if hasattr(application, "routes"):
            break
        application = getattr(application, "inner", None) or getattr(
            application, "application", None
        )
    for route in getattr(application, "routes", ()):
        try:
            found = route.pattern.match(path.lstrip("/"))
        except Exception:  # a converter of the application
            return {}
        if found is not None:
            rest, _, kwargs = found
            return {**kwargs, **captured_by(getattr(route, "callback", None), rest)}
    return {}


class LogContextMiddleware:
    """Opens the context of a WebSocket and logs `websocket_finished` when it ends."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._options = current_options()
        self._redactor = make_redactor(self._options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Run one connection; others than WebSockets are passed on."""
        if scope["type"] != "websocket":
            return await self._application(scope, receive, send)
        started = time.perf_counter()
        scope = dict(scope)
        captured = captured_by(self._application, str(scope.get("path", "")))
        state = ScopeFields(scope, self._options, self._redactor, captured)
        with activate(Context({}, state)):
            outcome = "request_aborted"
            try:
                result = await self._application(scope, receive, send)
                outcome = "websocket_finished"
                return result
            finally:
                if self._options.access_log:
                    self._log(state, outcome, started)

    def _log(self, state: ScopeFields, outcome: str, started: float) -> None:
        path = state.path()
        fields = {"event_type": outcome, "method": "WEBSOCKET", "path": path}
        _access_logger.log(
            logging.INFO if outcome == "websocket_finished" else logging.WARNING,
            "WEBSOCKET %s %s",
            path,
            outcome.partition("_")[2],
            extra={**fields, "duration_ms": round((time.perf_counter() - started) * 1000, 3)},
        )
