"""The sample app under gunicorn with two workers: what it answers and logs, and traffic on it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import requests

from stack.traffic.plan import CLIENTS
from stack.traffic.run import AppUnreachableError, TrafficReport, run
from tests.support.sample_app_process import PASSWORD, PATIENCE, Record, SampleApp

SCHEMA = json.loads(
    (Path(__file__).parents[3] / "stack" / "log_record.schema.json").read_text(encoding="utf-8")
)
NORDWIND, ATELIER = 1, 2  # alice is admin of the first, and a stranger to the second


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleApp]:
    """One served app with the demo data for all tests of this module."""
    app = SampleApp(tmp_path_factory.mktemp("served app"))
    app.prepare()
    with app.served():
        answer = requests.get(f"{app.base_url}/healthz", timeout=PATIENCE)
        assert answer.json() == {"status": "ok"}, app.server_output.read_text()
        yield app


class Browser:
    """A logged-in user."""

    def __init__(self, app: SampleApp, username: str, address: str = "203.0.113.77") -> None:
        self.app = app
        self.session = requests.Session()
        self.session.headers["X-Forwarded-For"] = address
        answer = self.post("/api/login/", {"username": username, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        self.session.headers["X-CSRFToken"] = answer.json()["csrf_token"]

    def get(self, path: str) -> requests.Response:
        """Send a GET."""
        return self.session.get(self.app.base_url + path, timeout=PATIENCE)

    def post(self, path: str, body: dict[str, str]) -> requests.Response:
        """Send a JSON body."""
        return self.session.post(self.app.base_url + path, json=body, timeout=PATIENCE)


@pytest.fixture
def alice(app: SampleApp) -> Iterator[Browser]:
    """Alice, logged in."""
    browser = Browser(app, "alice")
    yield browser
    browser.session.close()


def only(records: list[Record]) -> Record:
    """Return the one record that there must be."""
    assert len(records) == 1, records
    return records[0]


def test_a_login_is_one_request_and_is_logged_without_the_password(app: SampleApp) -> None:
    """An API client posts JSON and gets a session and the token for what it posts next."""
    browser = Browser(app, "dave", "203.0.113.78")
    me = browser.get("/api/me/").json()
    browser.session.close()
    assert (me["username"], me["memberships"][0]["role"]) == ("dave", "member")
    record = only(app.wait_for(event_type="user_login", client_ip="203.0.113.78"))
    assert record["username"] == "dave"
    assert PASSWORD not in app.log_file.read_text()


def test_a_failed_login_gives_401_and_is_logged_with_its_address(app: SampleApp) -> None:
    """An alert on guessed passwords has what it needs."""
    answer = requests.post(
        f"{app.base_url}/api/login/",
        json={"username": "alice", "password": "hunter-22"},
        headers={"X-Forwarded-For": "203.0.113.79"},
        timeout=PATIENCE,
    )
    assert answer.status_code == 401
    record = only(app.wait_for(event_type="user_login_failed", client_ip="203.0.113.79"))
    assert record["level"] == "WARNING"
    assert "hunter-22" not in app.log_file.read_text()


def test_a_form_cannot_log_in(app: SampleApp) -> None:
    """The login is exempt from the CSRF token only because other sites cannot send JSON."""
    answer = requests.post(
        f"{app.base_url}/api/login/",
        data={"username": "alice", "password": PASSWORD},
        timeout=PATIENCE,
    )
    assert answer.status_code == 400
    assert "Content-Type: expected application/json" in answer.json()["error"]


def test_a_post_without_the_token_is_refused(alice: Browser) -> None:
    """After the login, Django's CSRF protection is in force."""
    del alice.session.headers["X-CSRFToken"]
    answer = alice.post("/api/organizations/", {"name": "Forged", "country": "DE"})
    assert answer.status_code == 403


def test_a_logged_out_client_gets_401(alice: Browser) -> None:
    """The session has ended for good."""
    assert alice.post("/api/logout/", {}).json() == {"logged_out": True}
    assert alice.get("/api/me/").status_code == 401


def test_a_created_organization_is_logged_with_who_and_what(app: SampleApp, alice: Browser) -> None:
    """The event and the access record share the request id and carry user and organization."""
    created = alice.post("/api/organizations/", {"name": "Neue Mitte", "country": "de"})
    assert created.status_code == 201
    pk = created.json()["id"]
    event = only(app.wait_for(event_type="organization_created", object_id=pk))
    assert event["object_type"] == "organizations.Organization"
    assert event["organization_id"] == pk
    assert event["username"] == "alice"
    assert event["client_ip"] == "203.0.113.77"
    assert "Neue Mitte" in event["message"]
    access = only(
        app.wait_for(event_type="request_finished", request_id=event["request_id"], status=201)
    )
    assert (access["method"], access["path"]) == ("POST", "/api/organizations/")
    assert access["session_id"] == event["session_id"]
    assert alice.session.cookies["sessionid"] not in app.log_file.read_text()
    assert alice.get(f"/api/organizations/{pk}/").json()["country"] == "DE"


def test_another_organization_is_denied_and_logged_under_its_id(
    app: SampleApp, alice: Browser
) -> None:
    """Somebody who looks at what was tried on an organization finds it."""
    assert alice.get(f"/api/organizations/{ATELIER}/").status_code == 403
    record = app.wait_for(event_type="permission_denied", organization_id=ATELIER)[-1]
    assert (record["username"], record["level"]) == ("alice", "WARNING")


def test_only_an_admin_changes_a_role(app: SampleApp, alice: Browser) -> None:
    """The change is logged with the old and the new role; a member's try is denied."""
    dave = Browser(app, "dave")
    path = f"/api/organizations/{ATELIER}/members/5/role/"
    assert dave.post(path, {"role": "admin"}).status_code == 403
    dave.session.close()
    path = f"/api/organizations/{NORDWIND}/members/3/role/"
    assert alice.post(path, {"role": "emperor"}).status_code == 400
    assert alice.post(path, {"role": "accountant"}).status_code == 200
    assert alice.post(path, {"role": "accountant"}).status_code == 200
    record = only(app.wait_for(event_type="role_changed", client_ip="203.0.113.77"))
    assert (record["old_role"], record["new_role"]) == ("member", "accountant")
    assert record["member_id"] in (3, "3")
    assert record["object_type"] == "organizations.Membership"


def test_an_export_is_csv_and_is_logged(app: SampleApp, alice: Browser) -> None:
    """Who took how many rows out of the system can be told later."""
    answer = alice.get(f"/api/organizations/{NORDWIND}/invoices/export/")
    lines = answer.text.splitlines()
    assert lines[0] == "id,number,customer,amount,status"
    record = app.wait_for(event_type="data_exported", organization_id=NORDWIND)[-1]
    assert int(record["rows"]) == len(lines) - 1 >= 12
    assert record["username"] == "alice"


def test_an_invoice_is_created_as_a_draft(app: SampleApp, alice: Browser) -> None:
    """What the nightly job will issue is there, rounded to cents, and logged."""
    path = f"/api/organizations/{NORDWIND}/invoices/"
    created = alice.post(path, {"customer": "Acme", "amount": "12.345"}).json()
    assert (created["amount"], created["status"], created["number"]) == ("12.35", "draft", "")
    event = only(app.wait_for(event_type="invoice_created", object_id=created["id"]))
    assert event["object_type"] == "invoices.Invoice"
    assert alice.get(f"/api/invoices/{created['id']}/").json()["customer"] == "Acme"


@pytest.mark.parametrize("amount", ["", "abc", "-1", "0", "NaN", "Infinity", "1e30"])
def test_an_unusable_amount_is_a_bad_request(alice: Browser, amount: str) -> None:
    """Bad input is the client's fault and never a 500."""
    path = f"/api/organizations/{NORDWIND}/invoices/"
    answer = alice.post(path, {"customer": "Acme", "amount": amount})
    assert (answer.status_code, "amount" in answer.json()["error"]) == (400, True)


def test_a_raising_view_gives_500_and_logs_the_cause(app: SampleApp, alice: Browser) -> None:
    """The log has the chain of exceptions once, the client nothing of it."""
    assert alice.get("/api/invoices/1/converted/?currency=USD").json()["amount"] == "21.67"
    answer = alice.get("/api/invoices/1/converted/?currency=XAG")
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error"})
    record = only(app.wait_for(level="ERROR", client_ip="203.0.113.77"))
    assert record["exception_type"] == "stack.sample_app.invoices.exchange.ExchangeRateError"
    assert record["exception_message"] == "no usable exchange rate for XAG"
    assert "decimal.InvalidOperation" in record["stack_trace"]
    assert "direct cause of the following exception" in record["stack_trace"]
    assert record["organization_id"] == NORDWIND


def test_the_slow_report_is_as_slow_as_asked_within_bounds(app: SampleApp, alice: Browser) -> None:
    """Nobody can hold a worker for longer than the limit."""
    path = f"/api/organizations/{NORDWIND}/revenue/?delay_ms="
    began = time.monotonic()
    answer = alice.get(f"{path}250")
    assert time.monotonic() - began >= 0.25
    assert {row["status"] for row in answer.json()["totals"]} == {"draft", "issued", "paid"}
    for refused in ("3001", "-1", "²", "", "9" * 500, "0" * 12 + "9999"):
        assert alice.get(path + refused).status_code == 400
    access = app.wait_for(event_type="request_finished", path=path.partition("?")[0], status=200)
    assert access[-1]["duration_ms"] >= 250


@pytest.mark.parametrize(
    "path", ["/api/nowhere/", "/api/organizations/9999/", f"/api/organizations/{10**30}/"]
)
def test_what_is_not_there_gives_404_as_json(alice: Browser, path: str) -> None:
    """Even errors are JSON."""
    answer = alice.get(path)
    assert (answer.status_code, answer.json()) == (404, {"error": "not found"})


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"name": "X"}'),
        *(b'{"name": 1, "country": "DE"}', b'{"name": "\\ud800", "country": "DE"}'),
        *(b'{"name": "X", "country": "DEU"}', b'{"name": "a\\nb", "country": "DE"}'),
    ],
)
def test_an_unusable_body_is_a_bad_request(alice: Browser, body: bytes) -> None:
    """Whatever a client sends, it is never a 500."""
    answer = alice.session.post(
        f"{alice.app.base_url}/api/organizations/",
        data=body,
        headers={"Content-Type": "application/json"},
        timeout=PATIENCE,
    )
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


def test_health_is_no_noise_in_the_log(app: SampleApp) -> None:
    """A probe every few seconds would hide the requests of people."""
    marker = requests.get(f"{app.base_url}/api/after-health/", timeout=PATIENCE)
    assert marker.status_code == 404
    app.wait_for(event_type="request_finished", path="/api/after-health/")
    assert not [record for record in app.records() if record.get("path") == "/healthz"]


def test_gunicorns_own_lines_are_records_of_the_app(app: SampleApp) -> None:
    """The master's lines too: the agent reads one file, and all of it is JSON."""
    lines = [record["message"] for record in app.wait_for(logger_name="gunicorn.error", count=5)]
    assert lines[0].startswith("Starting gunicorn")
    assert sum(line.startswith("Booting worker") for line in lines) == 2
    assert app.server_output.read_text() == ""


def drive(app: SampleApp, *, rate: float = 40, duration: float = 3, seed: int = 1) -> TrafficReport:
    """Send a little traffic."""
    return run(app.base_url, rate=rate, duration=duration, seed=seed, password=PASSWORD)


def test_traffic_gets_the_answers_it_expects_and_each_is_logged_once(app: SampleApp) -> None:
    """Two workers write one log and one database at once: no line is torn, no request fails."""
    before = len(app.records())
    report = drive(app)
    assert (report.unexpected, report.errors, report.interrupted) == ({}, {}, False)
    assert report.requests == report.planned == 120 == sum(report.by_status.values())
    assert 20 < report.achieved_rate <= 40
    assert 0 < report.p50_ms <= report.p95_ms
    records = app.records()[before:]
    logged = Counter(
        f"{record['status'] // 100}xx"
        for record in records
        if record.get("event_type") == "request_finished"
    )
    logged["2xx"] -= report.setup_requests
    assert dict(logged) == report.by_status
    assert len({record["client_ip"] for record in records}) == CLIENTS + 1


def test_every_record_of_the_app_keeps_the_contract(app: SampleApp) -> None:
    """Whatever these tests made the app log fits the schema, gunicorn's own lines included."""
    validator = jsonschema.Draft202012Validator(
        SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    records = app.records()
    assert len(records) > 1
    for record in records:
        validator.validate(record)
        assert record["environment"] == "test"


def test_ctrl_c_ends_traffic_early_with_a_report(app: SampleApp) -> None:
    """What has been sent until then is reported, and said to be incomplete."""
    counts: list[int] = []

    def interrupt_once(sent: int, planned: int) -> None:
        counts.append(sent)
        if sent >= 5 and counts.count(-1) == 0:
            counts.append(-1)
            raise KeyboardInterrupt

    began = time.monotonic()
    report = run(
        app.base_url,
        rate=20,
        duration=600,
        seed=2,
        password=PASSWORD,
        on_progress=interrupt_once,
    )
    assert report.interrupted
    assert 5 <= report.requests < report.planned
    assert time.monotonic() - began < 15


def test_traffic_with_a_wrong_password_says_so(app: SampleApp) -> None:
    """The error names the variable that must match."""
    with pytest.raises(AppUnreachableError, match=r"HTTP 401.*LOGSTACK_SAMPLE_PASSWORD"):
        run(app.base_url, rate=1, duration=1, seed=1, password="not the password")


def test_requests_without_an_answer_are_counted_by_kind(tmp_path: Path) -> None:
    """An app that dies during a run is no reason to stop: the report tells what was lost.

    The app starts in an empty directory, so that this shows `serve --prepare` at work, too.
    """
    app = SampleApp(tmp_path)
    with app.served("--prepare") as server:

        def stop_the_app(sent: int, planned: int) -> None:
            if sent >= 5 and server.poll() is None:
                server.terminate()
                server.wait(PATIENCE)

        report = run(
            app.base_url,
            rate=20,
            duration=3,
            seed=1,
            password=PASSWORD,
            on_progress=stop_the_app,
        )
    assert report.errors.keys() == {"ConnectionError"}
    assert report.requests == sum(report.by_status.values()) + report.errors["ConnectionError"]
