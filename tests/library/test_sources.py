"""What the records of frameworks become: the table of the page, row by row, and its siblings."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import sys
import threading
import warnings
from typing import Any

import pytest
import structlog
from django.core.exceptions import SuspiciousOperation
from django.test import Client, RequestFactory
from logstack_django.filters import HttpFilter, LoggedFilter, mark_logged
from logstack_django.outgoing import outgoing_headers
from logstack_django.requests import describe_user
from logstack_django.sources.registry import find_translator
from logstack_django.testing import CapturedLogs
from logstack_django.uncaught import install_hooks, remove_hooks

from logstack_django import background_job, context, timed
from tests.library.support import OPTIONS, ROOT, format_one, run_python, setup_code

PAGE = (ROOT / "docs" / "log-from-django.md").read_text(encoding="utf-8")
_REQUEST = RequestFactory().get("/orders/7/?token=a")
_DAPHNE = {"method": "GET", "path": "/boom/?token=a", "status": 500, "time_taken": 0.05}
_HYPERCORN = {"h": "192.0.2.7:4711", "m": "GET", "U": "/a/", "s": 200, "B": "12", "D": 1500}
# By the logger in the page: how the framework logs.
LOGGED: dict[str, dict[str, Any]] = {
    "django.request": {
        "args": ("%s: %s", "Not Found", "/orders/7/"),
        "fields": {"request": _REQUEST, "status_code": 404},
        "level": logging.WARNING,
    },
    "django.security.SuspiciousOperation": {
        "args": ("bad",),
        "fields": {"request": _REQUEST, "status_code": 400},
        "level": logging.ERROR,
    },
    "django.server": {"args": ('"%s" %s %s', "GET /static/a.css?b=1 HTTP/1.1", "200", "12")},
    "django.db.backends": {
        "args": ("(%.3f) %s", 0.1, "SELECT 1"),
        "fields": {"duration": 0.1, "sql": "SELECT 1", "params": None, "alias": "default"},
    },
    "django.tasks": {"args": ("Task id=%s path=%s state=%s", "t1", "shop.tasks.send", "RUNNING")},
    "django.channels.server": {
        "args": ("HTTP %(method)s %(path)s", {**_DAPHNE, "client": "192.0.2.7:4711"})
    },
    "uvicorn.access": {
        "args": ('%s - "%s %s HTTP/%s" %d', "192.0.2.7:4711", "GET", "/a/?b=1", "1.1", 200)
    },
    "uvicorn.error": {"args": ("Started",), "fields": {"color_message": "\x1b[36mStarted"}},
    "gunicorn.access": {"args": ("%(m)s", {**_HYPERCORN, "h": "192.0.2.7", "B": 12, "D": 1500})},
    "hypercorn.access": {"args": ("%(m)s", _HYPERCORN)},
    "celery.app.trace": {
        "args": ("Task %(name)s[%(id)s]", {"name": "shop.send", "id": "t1", "runtime": 0.5})
    },
    "py.warnings": {"args": ("shop/a.py:7: DeprecationWarning: use b\n  a()\n",)},
    "a mapping": {"args": ({"event": "order saved", "order": 7},)},
}
_TABLE = PAGE.partition("| Logger | Message | Fields |")[2].partition("\n\n")[0]
ROWS = re.findall(r"^\| `?([\w. ]+?)`? \| (.+?) \| (.+?) \|$", _TABLE, re.MULTILINE)


@pytest.mark.parametrize(("logger", "message", "fields"), ROWS, ids=[row[0] for row in ROWS])
def test_the_records_of_a_framework_become_what_the_page_says(
    logger: str, message: str, fields: str
) -> None:
    """Its message, and every field of the row."""
    given = LOGGED[logger]
    args = given["args"]
    extra = {key: value for key, value in given.items() if key != "args"}
    found = format_one(*args, name=logger if "." in logger else "shop", **extra)
    assert found["message"] == message.strip("`")
    expected = dict(re.findall(r"`(\w+)`: `(.*?)`", fields))
    assert expected
    assert {name: str(found.get(name)) for name in expected} == expected
    assert not {"color_message", "request", "status_code", "sql", "params"} & found.keys()


def test_the_page_has_a_row_for_every_logger_that_is_translated() -> None:
    """And the other way round."""
    assert [row[0] for row in ROWS] == list(LOGGED)
    assert all(find_translator(name) for name in LOGGED if "." in name)


def test_attributes_of_instrumentation_are_no_fields() -> None:
    """Neither uvicorn's colours nor OpenTelemetry's zeros."""
    fields = {"otelTraceID": "0", "otelSpanID": "0", "otelTraceSampled": False, "plan": "pro"}
    found = format_one("a", fields={**fields, "color_message": "\x1b[36m"})
    assert found["plan"] == "pro"
    assert not [name for name in found if name.startswith(("otel", "color"))]


def test_an_exception_is_not_logged_by_the_server_again() -> None:
    """Nor the HTTP lines of daphne's runserver, where the middleware logs."""
    error = ValueError("once")
    record = logging.makeLogRecord({"exc_info": (ValueError, error, None)})
    assert LoggedFilter().filter(record)
    mark_logged(error)
    assert not LoggedFilter().filter(record)
    assert not HttpFilter().filter(logging.makeLogRecord({"args": {"status": 200}}))
    assert HttpFilter().filter(logging.makeLogRecord({"args": {"path": "/ws/"}}))


def test_structlogs_bridge_gives_fields_and_one_exception(captured_logs: CapturedLogs) -> None:
    """Its documented wiring for the standard logging."""
    logger = structlog.wrap_logger(
        logging.getLogger("shop.structlog"),
        processors=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    logger.warning("order saved", order=7, password="hunter2")
    try:
        raise ValueError("broken")
    except ValueError as error:
        logger.error("failed", exc_info=error)
    first, second = captured_logs
    assert (first["message"], first["order"]) == ("order saved", 7)
    assert first["password"] == "[redacted]"
    assert not {"_logger", "_name", "event", "extra_level", "extra_timestamp"} & first.keys()
    assert second["exception_type"] == "ValueError"


def test_loguru_s_bound_values_are_fields() -> None:
    """Its bridge puts them into one attribute."""
    found = format_one("saved", fields={"extra": {"order": 7}})
    assert found["order"] == 7
    assert "extra" not in found
    assert format_one("saved", fields={"extra": "text"})["extra"] == "text"


def test_a_message_whose_arguments_do_not_fit_is_marked() -> None:
    """The wrong call can be found."""
    found = format_one("count %d", "abc")
    assert found["message"] == "count %d ['abc']"
    assert found["format_error"] == "the arguments do not fit the message"


def test_no_member_of_a_dict_is_lost_to_another_one() -> None:
    """Keys that have the same text; and what was left out is counted."""
    assert format_one(own={1: "int", "1": "str"})["own"] == {"1": "int", "1 (2)": "str"}
    found = format_one(fields={f"field_{number}": number for number in range(70)})
    assert found["…[cut]"] == "6 more fields"


@pytest.mark.parametrize("created", [-1.5, -0.5, 1e12, float("nan")])
def test_a_time_that_is_none_becomes_the_current_one(created: float) -> None:
    """On every path of the formatter."""
    record = logging.makeLogRecord({"msg": "a", "name": "a", "created": created})
    from logstack_django.formatter import JsonFormatter

    stamp = json.loads(JsonFormatter(OPTIONS).format_line(record))["timestamp"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", stamp)


def test_characters_that_control_a_terminal_are_escaped() -> None:
    """C1 controls, DEL and signs that change the direction."""
    from logstack_django.formatter import JsonFormatter

    text = "a\x9b31m\x7f\u202e\u2066\u200f\u061cb"
    record = logging.makeLogRecord({"msg": text, "name": "a", "own": text})
    line = JsonFormatter(OPTIONS).format_line(record)
    assert line.isascii()
    assert b"\x7f" not in line
    assert json.loads(line)["message"] == json.loads(line)["own"] == text


def _generator() -> Any:
    yield 1


async def _async_generator() -> Any:
    yield 1


@pytest.mark.parametrize("function", [_generator, _async_generator])
@pytest.mark.parametrize("decorate", [background_job("x"), context(a=1), timed("x")])
def test_a_generator_is_not_decorated(function: Any, decorate: Any) -> None:
    """Its body would run after the block."""
    with pytest.raises(TypeError, match="cannot decorate the generator _"):
        decorate(function)


class TokenUser:
    """A user without a model, as rest_framework_simplejwt has one."""

    __slots__ = ()
    is_authenticated = True
    pk = property(lambda self: 7)
    username = property(lambda self: "ann")


def test_a_user_without_a_model_is_shown() -> None:
    """Its attributes need no query."""
    assert describe_user(TokenUser(), OPTIONS) == {"user_id": 7, "username": "ann"}


def test_outgoing_calls_carry_the_request_and_its_trace() -> None:
    """A request without a trace gets one, which its later records have."""
    with context(request_id="r1234567"):
        headers = outgoing_headers()
        trace = headers["traceparent"].split("-")[1]
        assert headers["X-Request-ID"] == "r1234567"
        assert format_one()["trace_id"] == trace
        assert outgoing_headers()["traceparent"].split("-")[1] == trace


def test_warnings_are_records(captured_logs: CapturedLogs) -> None:
    """With their category."""
    remove_hooks()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            install_hooks()
            warnings.warn("old password=hunter2", DeprecationWarning, stacklevel=1)
    finally:
        remove_hooks()
    (found,) = captured_logs.matching(logger_name="py.warnings")
    assert found["message"] == "old password=[redacted]"
    assert found["warning"] == "DeprecationWarning"


UNCAUGHT = """
from logstack_django.uncaught import install_hooks
install_hooks()
def fail(): raise ValueError("password=hunter2")
thread = threading.Thread(target=fail, name="worker-1")
thread.start()
thread.join()
fail()
"""


def test_uncaught_exceptions_are_records_and_not_text() -> None:
    """Of a thread and of the main one; stderr has nothing."""
    done = run_python(setup_code() + UNCAUGHT)
    assert done.returncode == 1
    assert done.stderr == b""
    thread, main = [json.loads(line) for line in done.stdout.splitlines()]
    assert (thread["level"], main["level"]) == ("ERROR", "CRITICAL")
    assert thread["message"] == "Uncaught exception in thread worker-1"
    assert {thread["event_type"], main["event_type"]} == {"uncaught_exception"}
    assert b"hunter2" not in done.stdout
    assert main["exception_message"] == "password=[redacted]"


def test_hooks_of_others_are_called_as_well() -> None:
    """An error tracker, for example."""
    seen: list[object] = []
    remove_hooks()
    before = threading.excepthook
    threading.excepthook = seen.append
    try:
        install_hooks()
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    finally:
        remove_hooks()
        threading.excepthook = before
    assert len(seen) == 1
    assert sys.excepthook is not None


@pytest.mark.parametrize(
    "path", ["/reset/abc/t0ken-s3cr3t", "/reset/abc/t0ken-s3cr3t/x", "//reset/abc/t0ken-s3cr3t/"]
)
def test_a_path_whose_route_nearly_matches_is_masked(
    path: str, captured_logs: CapturedLogs
) -> None:
    """A mail client may cut the last slash of a link."""
    Client(raise_request_exception=False).get("/", PATH_INFO=path)
    assert captured_logs.matching(event_type="request_finished")
    assert "t0ken-s3cr3t" not in json.dumps(list(captured_logs))


def test_a_secret_part_is_masked_in_every_text_of_its_request(captured_logs: CapturedLogs) -> None:
    """The view logs the path and an exception with it."""
    Client(raise_request_exception=False).get("/secrets/raises/t0ken-s3cr3t/?log=1")
    assert len(captured_logs) > 2
    assert "t0ken-s3cr3t" not in json.dumps(list(captured_logs))


def test_a_suspicious_request_has_the_fields_of_a_request(captured_logs: CapturedLogs) -> None:
    """Django logs it under the name of the exception."""
    request = RequestFactory().get("/bad/")
    extra = {"request": request, "status_code": 400}
    logger = logging.getLogger(f"django.security.{SuspiciousOperation.__name__}")
    logger.error("bad host", extra=extra)
    (found,) = captured_logs
    assert (found["method"], found["path"], found["status"]) == ("GET", "/bad/", 400)


@pytest.mark.skipif(importlib.util.find_spec("django.tasks") is None, reason="Django before 6.0")
def test_a_task_of_django_has_a_context() -> None:
    """Only by the signals; see the page."""
    from logstack_django import tasks

    tasks.connect_signals()
