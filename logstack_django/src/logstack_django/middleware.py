"""The middleware: opens the request context and logs the access record, sync and async.

Put it first in MIDDLEWARE, so that everything after it logs with the request's context.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.log import log_response

from logstack_django.config import current_options, make_redactor
from logstack_django.contexts import Context, current
from logstack_django.filters import mark_logged, mark_served
from logstack_django.options import Options
from logstack_django.paths import safe_path
from logstack_django.requests import RequestState
from logstack_django.streaming import observe_stream

_request_logger = logging.getLogger("django.request")
_access_logger = logging.getLogger("logstack_django.access")

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class RequestLogMiddleware:
    """Opens the context of a request, returns its id in a header, logs `request_finished`."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.options = current_options()
        self.redactor = make_redactor(self.options)
        self._quiet_paths, self._quiet_prefixes = _split_paths(self.options)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self):
            return self._call_async(request)
        with _Call(self, request) as call:
            response = cast(HttpResponseBase, self.get_response(request))
            call.answer(response)
            return response

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        with _Call(self, request) as call:
            response = await cast(Awaitable[HttpResponseBase], self.get_response(request))
            call.answer(response)
            return response

    def is_quiet(self, path: str) -> bool:
        """Whether successful requests of this path are not logged, such as health checks."""
        return path in self._quiet_paths or path.startswith(self._quiet_prefixes)


class _Call:
    """One request: measures it and logs its access record."""

    def __init__(self, middleware: RequestLogMiddleware, request: HttpRequest) -> None:
        self.middleware = middleware
        self.options = middleware.options
        self.request = request
        self.started = time.perf_counter()
        self.state = RequestState(request, self.options, middleware.redactor)
        self.response: HttpResponseBase | None = None
        self._streaming = False
        self._logged = False
        self._before = current.get()
        current.set(Context({}, self.state))
        if self.options.access_log:
            mark_served()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is not None:
                self.fail(error)
        finally:
            self.leave()
            current.set(self._before)

    def answer(self, response: HttpResponseBase) -> None:
        """Take the response; the body of a streaming one is still to be sent."""
        self.response = response
        header = self.options.request_id_header
        if header and header not in response:
            response[header] = self.state.request_id
        if response.status_code >= 500 and self.state.failed:
            # A framework has logged the exception. Django asks for this mark before it logs.
            cast(Any, response)._has_been_logged = True
        elif response.status_code >= 400:
            # Django would log this after the last middleware, when the context is closed. It marks
            # the response, so that it is logged once.
            log_response(
                "%s: %s",
                response.reason_phrase,
                safe_path(self.request, self.middleware.redactor),
                response=cast(HttpResponse, response),
                request=self.request,
            )
        if response.streaming:
            self._streaming = True
            observe_stream(response, self)
        else:
            content = cast(Any, response).content
            self.finish("request_finished", len(content))

    def fail(self, error: BaseException) -> None:
        """Log a request without a response: the client left, or the server stops the worker."""
        cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit)
        self.finish("request_cancelled" if cancelled else "request_aborted", None)

    def log_failure(self, error: BaseException) -> None:
        """Log an exception of a stream here, where the context of its request is."""
        _request_logger.error(
            "Stream failed: %s",
            safe_path(self.request, self.middleware.redactor),
            exc_info=error,
            extra={"status_code": self.response and self.response.status_code},
        )
        mark_logged(error)

    def leave(self) -> None:
        """Release the request, which copies of the context would keep alive."""
        if not self._streaming:
            self.state.freeze()

    def finish(self, event_type: str, response_bytes: int | None) -> None:
        """Log the access record, once."""
        if self._logged:
            return
        self._logged = True
        if not self.options.access_log:
            return
        request = self.request
        elapsed = round((time.perf_counter() - self.started) * 1000, 3)
        status = self.response.status_code if self.response is not None else None
        finished = event_type == "request_finished"
        if (
            finished
            and status is not None
            and status < 400
            and self.middleware.is_quiet(request.path)
        ):
            return
        slow = 0 < self.options.slow_request_ms <= elapsed
        match = getattr(request, "resolver_match", None)
        path = safe_path(request, self.middleware.redactor)
        fields: dict[str, Any] = {
            "event_type": event_type,
            "duration_ms": elapsed,
            "method": request.method,
            "route": getattr(match, "route", None),
            "path": path,
            "status": status,
            "response_bytes": response_bytes,
        }
        if slow:
            fields["slow"] = True
        outcome = str(status) if finished else event_type.removeprefix("request_")
        _access_logger.log(
            logging.WARNING if slow or not finished else logging.INFO,
            "%s %s %s",
            request.method,
            path,
            outcome,
            extra=fields,
        )


def _split_paths(options: Options) -> tuple[frozenset[str], tuple[str, ...]]:
    exact = frozenset(path for path in options.quiet_paths if not path.endswith("*"))
    prefixes = tuple(path[:-1] for path in options.quiet_paths if path.endswith("*"))
    return exact, prefixes
