"""Views that behave and misbehave in every way that the middleware has to cope with."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import authenticate, login, logout
from django.core.exceptions import PermissionDenied
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseForbidden,
    StreamingHttpResponse,
)

import logstack_django

logger = logging.getLogger("tests.project")


def ok(request: HttpRequest, name: str = "") -> HttpResponse:
    """A plain success that logs once."""
    logger.info("Inside %s", request.GET.get("mark", "ok"))
    return HttpResponse("fine")


def whoami(request: HttpRequest) -> HttpResponse:
    """Loads the user."""
    return HttpResponse(request.user.get_username())


def bound(request: HttpRequest, organization_id: int) -> HttpResponse:
    """Binds the organization, as an application does."""
    logstack_django.bind(organization_id=organization_id)
    logger.info("Bound")
    return HttpResponse("bound")


def broken(request: HttpRequest) -> HttpResponse:
    """Raises."""
    raise ValueError("broken on purpose, password=hunter2")


def stops(request: HttpRequest) -> HttpResponse:
    """Ends the worker, as a timeout of the server does."""
    raise SystemExit(1)


def denied(request: HttpRequest) -> HttpResponse:
    """Raises PermissionDenied."""
    raise PermissionDenied("not yours")


def forbidden(request: HttpRequest) -> HttpResponse:
    """Answers 403 without an exception."""
    return HttpResponseForbidden("no")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    """Streams, logging at every step."""
    kind = request.GET.get("kind", "")

    def chunks() -> Iterator[bytes]:
        for number in range(int(request.GET.get("count", "3"))):
            logger.info("Chunk %d", number)
            yield b"x" * 1000
            if kind == "raise" and number == 1:
                raise ValueError("broken stream")
            if kind == "slow":
                time.sleep(0.05)

    return StreamingHttpResponse(chunks())


def file(request: HttpRequest) -> FileResponse:
    """Sends a file, which the server may hand to the kernel."""
    content = tempfile.TemporaryFile()  # noqa: SIM115 (the response closes it)
    content.write(b"f" * 5000)
    content.seek(0)
    return FileResponse(content, filename="f.bin")


async def async_ok(request: HttpRequest) -> HttpResponse:
    """An async view that crosses into threads."""
    await asyncio.sleep(0.001)
    await sync_to_async(logger.info)("In thread %s", request.GET.get("mark", "-"))
    await asyncio.to_thread(logger.info, "In to_thread %s", request.GET.get("mark", "-"))
    logger.info("In view %s", request.GET.get("mark", "-"))
    return HttpResponse("async")


async def async_wait(request: HttpRequest) -> HttpResponse:
    """Waits for longer than the client."""
    await asyncio.sleep(30)
    return HttpResponse("late")


async def async_stream(request: HttpRequest) -> StreamingHttpResponse:
    """An async stream."""
    count = int(request.GET.get("count", "3"))

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(count):
            logger.info("Async chunk %d", number)
            yield b"y" * 1000
            await asyncio.sleep(0.05 if count > 10 else 0)

    return StreamingHttpResponse(chunks())


def sign_in(request: HttpRequest) -> HttpResponse:
    """Logs in with the name and password in the query."""
    user = authenticate(
        request, username=request.GET.get("name"), password=request.GET.get("password")
    )
    if user is None:
        return HttpResponse("no", status=401)
    login(request, user)
    return HttpResponse("in")


def sign_out(request: HttpRequest) -> HttpResponse:
    """Logs out."""
    logout(request)
    return HttpResponse("out")


def refuse(request: HttpRequest, raises: bool = False, **captured: Any) -> HttpResponse:
    """A refused path with a secret in it, and a record with the request itself."""
    logging.getLogger("project").warning("Refused %s", request, extra={"own": request})
    if raises:
        raise ValueError("refused")
    return HttpResponse("refused", status=410)


def reset(request: HttpRequest, uid: str, token: str) -> HttpResponse:
    """A path with a secret in it."""
    return HttpResponse("reset")


def _sync_chunks() -> Iterator[bytes]:
    yield b"a"
    raise ValueError("mid-stream, password=hunter2")


async def _async_chunks() -> AsyncIterator[bytes]:
    yield b"a"
    raise ValueError("mid-stream, password=hunter2")


def fail_sync(request: HttpRequest) -> StreamingHttpResponse:
    """A stream that raises."""
    return StreamingHttpResponse(_sync_chunks())


async def fail_async(request: HttpRequest) -> StreamingHttpResponse:
    """An async stream that raises."""
    return StreamingHttpResponse(_async_chunks())
