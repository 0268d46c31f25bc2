"""Frameworks and servers as they are released: what their records become."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from django.contrib.auth.models import User
from django.test import Client, RequestFactory, override_settings
from django.urls import path
from logstack_django.middleware import RequestLogMiddleware
from logstack_django.testing import CapturedLogs

from tests.library.support import serve, wait_until
from tests.support.ports import free_ports

HYPERCORN_CONFIG = (
    "import logstack_django.hypercorn\n"
    "logconfig_dict = logstack_django.hypercorn.logconfig_dict(service='erp-server')\n"
    "bind = '127.0.0.1:{port}'\n"
)


@pytest.mark.parametrize("name", ["hypercorn", "daphne"])
def test_a_server_answers_with_one_access_record_for_each_request(
    name: str, tmp_path: Path
) -> None:
    """Without the query string; a failed request has one error with its exception."""
    [port] = free_ports(1)
    application = "tests.library.project.asgi:application"
    if name == "hypercorn":
        config = tmp_path / "hypercorn.conf.py"
        config.write_text(HYPERCORN_CONFIG.format(port=port))
        arguments = [sys.executable, "-m", "hypercorn", "-c", f"file:{config}", application]
    else:
        own = ["-b", "127.0.0.1", "-p", str(port), "--access-log", "/dev/null"]
        arguments = [sys.executable, "-m", "daphne", *own, application]
    with serve(
        arguments, port, tmp_path / name, {"LOGSTACK_DJANGO_SERVICE": "erp-server"}
    ) as server:
        assert requests.get(f"{server.url}/ok/?mark=a&token=s3cr3t", timeout=20).ok
        assert requests.get(f"{server.url}/broken/", timeout=20).status_code == 500
        wait_until(lambda: [r for r in server.records() if r["level"] == "ERROR"])
        records = server.records()
        paths = [r["path"] for r in records if r.get("event_type") == "request_finished"]
        assert paths.count("/ok/") == 1
        [error] = [r for r in records if r["level"] == "ERROR"]
        assert error["exception_type"] == "ValueError"
        assert error["request_id"]
        assert b"s3cr3t" not in b"".join(server.lines())


def call(view: Any, **given: Any) -> Any:
    """One request to a view, through the middleware."""
    request = RequestFactory().get("/things/", **given)
    return RequestLogMiddleware(view)(request)


def test_rest_framework_s_user_is_that_of_the_request(captured_logs: CapturedLogs) -> None:
    """Which its authentication finds inside the view."""
    from rest_framework.authentication import BaseAuthentication
    from rest_framework.response import Response
    from rest_framework.views import APIView

    user = User(pk=7, username="ann")

    class Always(BaseAuthentication):  # type: ignore[misc]
        def authenticate(self, request: Any) -> Any:
            return user, None

    class Things(APIView):  # type: ignore[misc]
        authentication_classes = (Always,)

        def get(self, request: Any) -> Response:
            return Response({"user": request.user.username})

    view = Things.as_view()

    def render(request: Any) -> Any:
        response = view(request)
        return response.render()

    assert call(render).status_code == 200
    [access] = captured_logs.matching(event_type="request_finished")
    assert access["user_id"] == user.pk
    assert access["username"] == "ann"


def test_ninja_s_failure_is_one_error(captured_logs: CapturedLogs) -> None:
    """Also with DEBUG, where it logs the exception itself."""
    from ninja import NinjaAPI

    api = NinjaAPI(urls_namespace="frameworks")

    @api.get("/fail")
    def fail(request: Any) -> None:
        raise ValueError("password=hunter2")

    urls = type("Urls", (), {"urlpatterns": [path("api/", api.urls)]})
    with override_settings(DEBUG=True, ROOT_URLCONF=urls):
        client = Client(raise_request_exception=False)
        assert client.get("/api/fail").status_code == 500
    errors = captured_logs.matching(level="ERROR")
    assert len(errors) == 1
    assert "hunter2" not in str(list(captured_logs))


def test_loguru_s_records_come_through_logging(captured_logs: CapturedLogs) -> None:
    """By the handler of its documentation; bound values are fields."""
    import logging

    from loguru import logger

    class Propagate(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logging.getLogger(record.name).handle(record)

    number = logger.add(Propagate(), format="{message}")
    try:
        logger.bind(order=7, password="hunter2").warning("saved {}", "it")
    finally:
        logger.remove(number)
    [found] = captured_logs.matching(level="WARNING")
    assert (found["message"], found["order"]) == ("saved it", 7)
    assert found["password"] == "[redacted]"


def test_a_consumer_of_channels_logs_with_its_connection(captured_logs: CapturedLogs) -> None:
    """Behind its router; what the route captured as a token is masked."""
    import asyncio
    import logging

    from channels.generic.websocket import AsyncWebsocketConsumer
    from channels.middleware import BaseMiddleware
    from channels.routing import URLRouter
    from channels.security.websocket import OriginValidator
    from channels.testing import WebsocketCommunicator
    from logstack_django.channels import LogContextMiddleware

    class Echo(AsyncWebsocketConsumer):  # type: ignore[misc]
        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            logging.getLogger("shop").info("Received %s on %s", text_data, self.scope["path"])
            await self.send(text_data=text_data)

    class Users(BaseMiddleware):  # type: ignore[misc]
        """As AuthMiddleware, without a session."""

        async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
            scope = {**scope, "user": User(pk=7, username="ann")}
            return await super().__call__(scope, receive, send)

    inner = URLRouter([path("<str:token>/", Echo.as_asgi())])
    router = URLRouter([path("ws/", inner)])

    async def talk() -> None:
        trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        headers = [(b"traceparent", trace)]
        application = Users(LogContextMiddleware(OriginValidator(router, ["*"])))
        client = WebsocketCommunicator(application, "/ws/t0ken-s3cr3t/", headers)
        assert (await client.connect())[0]
        await client.send_to(text_data="hello")
        assert await client.receive_from() == "hello"
        await client.disconnect()

    asyncio.run(talk())
    [inside] = captured_logs.matching(logger_name="shop")
    [end] = captured_logs.matching(method="WEBSOCKET")
    assert inside["trace_id"] == end["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert inside["request_id"] == end["request_id"]
    assert (inside["user_id"], inside["username"]) == (7, "ann")
    assert "t0ken-s3cr3t" not in str(list(captured_logs))
