"""The other libraries, configured as their documentation recommends, for `bench.library`."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable
from typing import Any

import django
import ecs_logging
import orjson
import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path
from pythonjsonlogger.json import JsonFormatter as PjlJson
from pythonjsonlogger.msgspec import MsgspecFormatter as PjlMsgspec
from pythonjsonlogger.orjson import OrjsonFormatter as PjlOrjson

import logstack_django

Case = Callable[[], Any]
Measure = Callable[[dict[str, Case], int, int], dict[str, float]]

PJL_ORJSON = "python-json-logger orjson"
_FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"
_TEXT = (
    _FIELDS + " %(trace_id)s %(request_id)s %(user_id)s %(organization_id)s"
    " %(event_type)s %(duration_ms)s %(plan)s"
)
_RENAMED = {"asctime": "timestamp", "levelname": "level", "name": "logger_name"}
_STATIC = {"service_name": "erp-backend-api", "environment": "production"}


def formatters() -> dict[str, logging.Formatter]:
    """Formatters for the standard logging, the text one of the standard library first."""
    pjl: dict[str, Any] = {"rename_fields": _RENAMED, "static_fields": _STATIC}
    return {
        "stdlib text": logging.Formatter(_TEXT),
        "python-json-logger json": PjlJson(_FIELDS, **pjl),
        PJL_ORJSON: PjlOrjson(_FIELDS, **pjl),
        "python-json-logger msgspec": PjlMsgspec(_FIELDS, **pjl),
        "ecs-logging": ecs_logging.StdlibFormatter(),
    }


def structlog_cases(
    message: str, fields: dict[str, Any], error: BaseException | None
) -> dict[str, Case]:
    """structlog's own processors with orjson; it does not go through a LogRecord."""
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(serializer=orjson.dumps),
    ]
    method = "info" if error is None else "error"

    def case() -> None:
        event: Any = {"event": message, **fields, **_STATIC}
        if error is not None:
            event["exc_info"] = error
        for processor in processors:
            event = processor(None, method, event)

    return {"structlog orjson": case}


def middleware_costs(measure: Measure, repeats: int) -> tuple[dict[str, float], dict[str, int]]:
    """Microseconds per logged-in request whose view ignores the user, and its SQL queries."""
    _set_up_django()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext, override_settings

    call_command("migrate", verbosity=0)
    client = Client()
    client.force_login(User.objects.create_user("bench"))
    client.get("/")
    cases: dict[str, Case] = {}
    queries: dict[str, int] = {}
    for name, middleware in _MIDDLEWARE.items():
        with override_settings(MIDDLEWARE=middleware):
            handler = _handler()
        case = _request_case(handler, client.cookies["sessionid"].value)
        case()
        with CaptureQueriesContext(connection) as captured:
            case()
        cases[name] = case
        queries[name] = len(captured)
    return measure(cases, max(repeats, 7), 300), queries


_COMMON = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
_MIDDLEWARE = {
    "no log middleware": _COMMON,
    "logstack_django": ["logstack_django.middleware.RequestLogMiddleware", *_COMMON],
    # It reads request.user, so it has to stand behind the middleware that sets it.
    "django-structlog": [*_COMMON, "django_structlog.middlewares.RequestMiddleware"],
}


def view(request: HttpRequest) -> HttpResponse:
    """Ignores the user."""
    return HttpResponse("fine")


urlpatterns = [path("", view)]


def _handler() -> Any:
    from django.core.handlers.base import BaseHandler

    handler = BaseHandler()
    handler.load_middleware()
    return handler


def _request_case(handler: Any, session_key: str) -> Case:
    from django.test import RequestFactory

    factory = RequestFactory()
    factory.cookies["sessionid"] = session_key

    def case() -> None:
        response = handler.get_response(factory.get("/"))
        response.close()

    return case


def _set_up_django() -> None:
    if settings.configured:
        return
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        logger_factory=structlog.BytesLoggerFactory(file=io.BytesIO()),
        cache_logger_on_first_use=True,
    )
    settings.configure(
        SECRET_KEY="bench",  # noqa: S106
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "logstack_django",
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        ROOT_URLCONF=__name__,
        LOGGING=logstack_django.logging_config("erp-backend-api", sink="file", path=os.devnull),
    )
    django.setup()
