"""One access record per request, with its context, whatever becomes of it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from logstack_django.contexts import current
from logstack_django.middleware import RequestLogMiddleware
from logstack_django.testing import CapturedLogs, assert_logged, capture_logs

from logstack_django import current_context
from tests.library.support import access_records, changed_options, logging_setting

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def signed_in(client: Client) -> Client:
    """A browser in which ann is logged in."""
    client.force_login(User.objects.get(username="ann"))
    return client


def test_a_request_leaves_one_access_record(client: Client, captured_logs: CapturedLogs) -> None:
    """With the facts of the contract and without the query string."""
    response = client.get("/organizations/7/?secret=s3cr3t")
    (record,) = access_records(captured_logs)
    assert record["event_type"] == "request_finished"
    assert record["level"] == "INFO"
    assert record["method"] == "GET"
    assert record["route"] == "organizations/<int:organization_id>/"
    assert record["path"] == "/organizations/7/"
    assert record["status"] == 200
    assert record["response_bytes"] == len(response.content)
    assert record["duration_ms"] > 0
    assert record["client_ip"] == "127.0.0.1"
    assert record["organization_id"] == 7
    assert record["request_id"] == response.headers["X-Request-ID"]
    assert "s3cr3t" not in str(list(captured_logs))
    inside = assert_logged(captured_logs, "Bound", request_id=record["request_id"])
    assert inside["organization_id"] == 7


def test_ids_come_in_by_headers(client: Client, captured_logs: CapturedLogs) -> None:
    """From a trusted peer, as the test client is one here."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"X-Request-ID": "gateway-1234", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    response = client.get("/ok/", headers=headers)
    assert response.headers["X-Request-ID"] == "gateway-1234"
    assert_logged(captured_logs, "Inside", request_id="gateway-1234", trace_id=trace)
    response = client.get("/ok/", headers=headers, REMOTE_ADDR="192.0.2.1")
    assert response.headers["X-Request-ID"] != "gateway-1234"


def test_an_exception_is_one_error_and_one_access_record(
    client: Client, captured_logs: CapturedLogs
) -> None:
    """Both with the same request id."""
    response = client.get("/broken/?token=s3cr3t")
    assert response.status_code == 500
    error = assert_logged(captured_logs, level="ERROR", count=1)
    assert error["exception_type"] == "ValueError"
    assert error["logger_name"] == "django.request"
    assert error["path"] == "/broken/"
    assert error["status"] == 500
    (record,) = access_records(captured_logs)
    assert record["status"] == 500
    assert record["request_id"] == error["request_id"]
    text = str(list(captured_logs))
    assert "s3cr3t" not in text
    assert "hunter2" not in text
    assert "WSGIRequest" not in text


@pytest.mark.parametrize("path", ["/denied/", "/forbidden/"])
def test_a_denied_request_is_one_security_record(
    client: Client, captured_logs: CapturedLogs, path: str
) -> None:
    """Whether the view raised PermissionDenied or answered 403."""
    client.get(path)
    record = assert_logged(captured_logs, level="WARNING", count=1)
    assert record["event_type"] == "permission_denied"
    assert record["path"] == path
    assert record["client_ip"] == "127.0.0.1"
    assert record["request_id"] == access_records(captured_logs)[0]["request_id"]
    assert len(captured_logs) == 2


def test_a_failed_csrf_check_is_one_security_record(captured_logs: CapturedLogs) -> None:
    """The middleware that refuses it answers 403, too."""
    Client(enforce_csrf_checks=True).post("/ok/")
    assert_logged(captured_logs, level="WARNING", event_type="permission_denied", count=1)


def test_a_missing_page_has_no_route(client: Client, captured_logs: CapturedLogs) -> None:
    """No pattern answered."""
    client.get("/nowhere/")
    (record,) = access_records(captured_logs)
    assert record["status"] == 404
    assert "route" not in record


def test_a_slow_request_is_a_warning(client: Client, captured_logs: CapturedLogs) -> None:
    """Above the threshold of the settings; still one record."""
    with logging_setting(changed_options(slow_request_ms=0.001)):
        client.get("/ok/")
    (record,) = access_records(captured_logs)
    assert record["level"] == "WARNING"
    assert record["slow"] is True


def test_quiet_paths_are_logged_only_when_they_fail(
    client: Client, captured_logs: CapturedLogs
) -> None:
    """Health checks would fill the log."""
    client.get("/health")
    client.get("/quiet/one")
    assert access_records(captured_logs) == []
    client.get("/quiet/one/missing")
    assert len(access_records(captured_logs)) == 1


def test_secret_parts_of_a_path_are_masked(client: Client, captured_logs: CapturedLogs) -> None:
    """The token of a password reset is in the path."""
    client.get("/reset/abc/t0ken-s3cr3t/")
    assert access_records(captured_logs)[0]["path"] == "/reset/abc/[redacted]/"
    assert "t0ken" not in str(list(captured_logs))


@pytest.mark.parametrize(
    ("path", "secret", "shown"),
    [
        ("uuid/0b5e3f34-3f5c-4e0a-8d43-6a3d3f9a7c11/", "0b5e3f34", "uuid/[redacted]/"),
        ("otp/0491822/", "91822", "otp/[redacted]/"),
        ("otp/97/", "97", "otp/[redacted]/"),
        ("pin-0x7/", "0x7", "pin-[redacted]/"),
        ("invite/s3cr3t/", "s3cr3t", "invite/[redacted]/"),
        ("invite/ключ3/", "ключ", "invite/[redacted]/"),
        ("raises/s3cr3t/", "s3cr3t", "raises/[redacted]/"),
    ],
)
def test_no_record_of_a_failed_request_shows_a_secret_part(
    path: str, secret: str, shown: str
) -> None:
    """Neither Django's own nor one with the request in it; by the keys of the options, too."""
    with logging_setting(changed_options(redact_keys=["invite"])), capture_logs() as captured_logs:
        Client(raise_request_exception=False).get(f"/secrets/{path}")
    access_records(captured_logs)
    by_django = captured_logs.matching(logger_name="django.request")
    assert len(by_django) == 1
    assert by_django[0]["message"].endswith(f": /secrets/{shown}")
    found = [record["path"] for record in captured_logs if "path" in record]
    assert found == [f"/secrets/{shown}"] * 2
    (own,) = captured_logs.matching(logger_name="project")
    assert own["own"] == f"GET /secrets/{shown}"
    for record in captured_logs:
        texts = [str(record.get(name)) for name in ("message", "path", "own")]
        assert secret not in str(texts).encode().decode("unicode_escape")
        assert secret not in str(texts)


def test_a_secret_that_is_not_in_the_path_masks_nothing(captured_logs: CapturedLogs) -> None:
    """A route's own arguments are no part of the path."""
    Client().get("/secrets/fixed/")
    assert access_records(captured_logs)[0]["path"] == "/secrets/fixed/"


def test_logging_adds_no_query_and_no_vary(signed_in: Client, captured_logs: CapturedLogs) -> None:
    """A view that ignores the user stays as cheap and as cacheable as it was."""
    with CaptureQueriesContext(connection) as queries:
        response = signed_in.get("/ok/")
    assert len(queries) == 0
    assert "Vary" not in response.headers
    record = access_records(captured_logs)[0]
    assert "user_id" not in record
    assert "username" not in record


def test_a_loaded_user_is_on_the_record(signed_in: Client, captured_logs: CapturedLogs) -> None:
    """As soon as the view has read it; the session's key never is."""
    with CaptureQueriesContext(connection) as queries:
        signed_in.get("/whoami/")
    assert len(queries) == 2  # the session and the user, for the view
    record = access_records(captured_logs)[0]
    assert record["user_id"] == User.objects.get(username="ann").pk
    assert record["username"] == "ann"
    assert len(record["session_id"]) == 32
    assert signed_in.cookies["sessionid"].value not in str(list(captured_logs))


def test_a_loaded_session_gives_the_user_id(signed_in: Client, captured_logs: CapturedLogs) -> None:
    """Without the user having been loaded."""
    request = RequestFactory().get("/")
    request.session = signed_in.session
    request.session["_auth_user_id"]

    def view(request: Any) -> Any:
        assert current_context()["user_id"] == str(User.objects.get(username="ann").pk)
        from django.http import HttpResponse

        return HttpResponse()

    RequestLogMiddleware(view)(request)
    (record,) = access_records(captured_logs)
    assert record["user_id"] == User.objects.get(username="ann").pk


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"organization_id": 4}, 4),
        ({"organization_id": "abc"}, "abc"),
        ({"organization_id": None}, None),
        ({}, None),
    ],
)
def test_the_organization_is_read_from_the_request(
    captured_logs: CapturedLogs, attributes: dict[str, Any], expected: object
) -> None:
    """An attribute that another middleware has set, even if it was empty at first."""
    from django.http import HttpRequest, HttpResponse

    def view(request: HttpRequest) -> HttpResponse:
        current_context()
        for name, value in attributes.items():
            setattr(request, name, value)
        return HttpResponse()

    request = RequestFactory().get("/")
    request.organization_id = None  # type: ignore[attr-defined]
    RequestLogMiddleware(view)(request)
    assert access_records(captured_logs)[0].get("organization_id") == expected


def test_security_events_are_one_record_each(client: Client, captured_logs: CapturedLogs) -> None:
    """Login, failed login, logout; never the password."""
    client.get("/login/?name=ann&password=wr0ngpw")
    failed = assert_logged(captured_logs, event_type="user_login_failed", count=1)
    assert failed["level"] == "WARNING"
    assert failed["username"] == "ann"
    assert failed["client_ip"] == "127.0.0.1"
    client.get("/login/?name=ann&password=pw")
    login = assert_logged(captured_logs, event_type="user_login", count=1)
    assert login["username"] == "ann"
    assert login["user_id"] == User.objects.get(username="ann").pk
    client.get("/logout/")
    logout = assert_logged(captured_logs, event_type="user_logout", count=1)
    assert logout["username"] == "ann"
    assert "wr0ngpw" not in str(list(captured_logs))


def test_a_failed_login_outside_of_a_request_is_logged(captured_logs: CapturedLogs) -> None:
    """For example from a command line."""
    from django.contrib.auth import authenticate

    assert authenticate(username="ann", password="no") is None
    record = assert_logged(captured_logs, event_type="user_login_failed", username="ann", count=1)
    assert "client_ip" not in record


def test_the_access_log_can_be_switched_off(client: Client, captured_logs: CapturedLogs) -> None:
    """The context stays."""
    with logging_setting(changed_options(access_log=False)):
        Client().get("/ok/")
    (record,) = captured_logs
    assert record["message"] == "Inside ok"
    assert "request_id" in record


def test_the_request_is_let_go_at_its_end(captured_logs: CapturedLogs) -> None:
    """A context that was copied elsewhere keeps the fields, not the request."""
    kept: list[Any] = []

    def view(request: Any) -> Any:
        from django.http import HttpResponse

        kept.append(current.get())
        return HttpResponse()

    RequestLogMiddleware(view)(RequestFactory().get("/"))
    state = kept[0].request
    assert state._request is None
    assert state.fields()["request_id"] == access_records(captured_logs)[0]["request_id"]


def test_the_level_of_the_access_log_is_a_setting(
    client: Client, captured_logs: CapturedLogs
) -> None:
    """Like that of every logger."""
    access = logging.getLogger("logstack_django.access")
    access.setLevel("WARNING")
    try:
        client.get("/ok/")
    finally:
        access.setLevel("NOTSET")
    assert [record["message"] for record in captured_logs] == ["Inside ok"]
