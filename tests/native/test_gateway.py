"""The gateway for real: Caddy before VictoriaLogs, and the collector that writes through it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from stack.engines.victorialogs import VictoriaLogs
from stack.hosts import secrets
from stack.settings import Settings
from tests.support.host_processes import HostUnderTest, fleet_settings, made_secrets, running_host
from tests.support.native_stack import line, marker, poll, record
from tests.support.otlp import Fields, otlp_batch

pytestmark = pytest.mark.native

WRITE = "/insert/opentelemetry/v1/logs"
READ = "/select/logsql/query"
BATCH = {"Content-Type": "application/x-protobuf"}


@dataclass
class Gateway:
    """A running log server, and everybody's credentials."""

    url: str
    ca: str
    settings: Settings
    secrets: dict[str, str]
    log: Path
    folder: Path

    def ask(
        self, method: str, path: str, user: str = "", password: str = "", **options: object
    ) -> requests.Response:
        auth = (user, password) if user else None
        if path.startswith(WRITE):
            options.setdefault("headers", BATCH)
        return requests.request(
            method,
            self.url + path,
            auth=auth,
            verify=self.ca,
            timeout=10,
            **options,  # type: ignore[arg-type]
        )

    def status(self, method: str, path: str, name: str = "", **options: object) -> int:
        """The answer to somebody with the right password."""
        key = secrets.reader_secret(name) if name == "alice" else secrets.writer_secret(name)
        password = self.secrets[key] if name else ""
        return self.ask(method, path, name, password, **options).status_code


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("log-server")
    values = fleet_settings()
    known = made_secrets(folder, values)
    with running_host(folder, values, known, "logs-1", "victorialogs", "gateway"):
        yield Gateway(
            url=f"https://127.0.0.1:{values.ports.gateway}",
            ca=str(_ca_file(folder, known)),
            settings=values,
            secrets=known,
            log=folder / "process-gateway" / "output.log",
            folder=folder,
        )


def _ca_file(folder: Path, known: dict[str, str]) -> Path:
    path = folder / "ca.pem"
    path.write_text(known[secrets.CA_CERTIFICATE], encoding="utf-8")
    return path


def test_a_host_may_write_and_not_read(gateway: Gateway) -> None:
    """An empty batch is taken; a query of the same host is refused."""
    assert gateway.status("POST", WRITE, "app-1", data=b"") == 200
    assert gateway.status("POST", READ, "app-1", data={"query": "*"}) == 401


def test_a_person_may_read_and_not_write(gateway: Gateway) -> None:
    """A query is answered; a batch of the same person is refused."""
    assert gateway.status("POST", READ, "alice", data={"query": "*"}) == 200
    assert gateway.status("POST", WRITE, "alice", data=b"") == 503


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/insert/jsonline"),
        ("GET", "/delete/run_task?filter=*"),
        ("GET", "/internal/force_flush"),
        ("GET", "/metrics"),
        ("GET", "/flags"),
        ("GET", "/"),
        ("GET", "/select/../metrics"),
        ("POST", "/select/%2e%2e/insert/jsonline"),
        ("GET", WRITE),
        ("DELETE", "/select/logsql/query"),
    ],
)
@pytest.mark.parametrize("name", ["alice", "app-1"])
def test_nothing_else_is_reachable(gateway: Gateway, method: str, path: str, name: str) -> None:
    """Not the engine's other ways in, not its internals, not with a detour."""
    prepared = requests.Request(method, gateway.url).prepare()
    prepared.url = gateway.url + path
    kind = secrets.reader_secret if name == "alice" else secrets.writer_secret
    prepared.prepare_auth((name, gateway.secrets[kind(name)]))
    with requests.Session() as session:
        answer = session.send(prepared, verify=gateway.ca, timeout=10)
    assert answer.status_code in (301, 308, 401, 404, 503)
    assert "go_memstats" not in answer.text


@pytest.mark.parametrize("user", ["app-1", "alice", "mallory", ""])
def test_a_wrong_password_is_refused(gateway: Gateway, user: str) -> None:
    """Also no user at all, and one who does not exist."""
    answer = gateway.ask("POST", READ, user, "wrong")
    assert (answer.status_code, "Basic" in answer.headers["WWW-Authenticate"]) == (401, True)
    assert gateway.ask("POST", WRITE, user, "wrong").status_code == 503


@pytest.mark.parametrize("method", ["GET", "POST", "CONNECT"])
@pytest.mark.parametrize("host", ["logs.example.net", "localhost", "127.0.0.1.nip.io", "10.0.0.1"])
def test_a_request_for_another_host_is_refused(gateway: Gateway, method: str, host: str) -> None:
    """A shipper that does not check names would believe that it delivers."""
    answer = gateway.ask(
        method, WRITE, "app-1", "wrong", headers={**BATCH, "Host": host}, data=b"x"
    )
    assert answer.status_code == 421
    assert "expected https://127.0.0.1" in answer.text
    poll(lambda: f'"host":"{host}"' in gateway.log.read_text(encoding="utf-8"), "a line of the log")


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_a_batch_of_another_type_is_refused(gateway: Gateway, kind: str) -> None:
    """As `curl --data-binary` sends it: the engine answers 200 and stores nothing."""
    batch = otlp_batch(STREAM, marker(), [("n", "1")])
    sent = gateway.ask("POST", WRITE, *_writer(gateway), data=batch, headers={"Content-Type": kind})
    assert (sent.status_code, sent.text) == (415, "Content-Type: expected application/x-protobuf")
    # Who may not write learns nothing of it.
    assert gateway.ask("POST", WRITE, "app-1", "wrong", headers={}, data=batch).status_code == 503


def test_plain_http_is_refused(gateway: Gateway) -> None:
    """Nothing is answered in clear but that this is the wrong protocol."""
    url = gateway.url.replace("https", "http")
    answer = requests.post(url + WRITE, data=b"", timeout=10)
    assert answer.status_code == 400
    assert "HTTPS" in answer.text


def test_a_client_that_does_not_know_the_authority_refuses(gateway: Gateway) -> None:
    """The certificate is good for those who were told of the authority alone."""
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(gateway.url, timeout=10)


def test_a_request_that_is_too_large_is_refused(gateway: Gateway) -> None:
    """Before the engine keeps it in memory."""
    data = b"x" * (33 * 1024 * 1024)
    try:
        status = gateway.status("POST", WRITE, "app-1", data=data)
    except requests.exceptions.ConnectionError:  # refused before all of it was sent
        return
    assert status == 413


def test_the_access_log_has_no_credentials(gateway: Gateway) -> None:
    """Neither the header nor what a query asks for."""
    asked = marker()
    gateway.status("GET", f"{READ}?query={asked}", "alice")
    gateway.status("POST", WRITE, "app-1", data=b"")

    def logged() -> list[str]:
        lines = gateway.log.read_text(encoding="utf-8").splitlines()
        return [x for x in lines if "handled request" in x and f'"uri":"{READ}"' in x]

    poll(logged, lambda: f"a line of the query in {gateway.log.read_text()[-3000:]}")
    text = gateway.log.read_text(encoding="utf-8")
    assert not re.search("authorization|basic ", text, re.IGNORECASE)
    assert asked not in text
    assert not any(value in text for value in gateway.secrets.values())


def test_batches_that_are_taken_are_not_logged(gateway: Gateway) -> None:
    """The agent of a log server reads this log: each of its batches would cause the next one."""
    assert gateway.status("POST", WRITE, "app-1", data=b"") == 200
    assert gateway.ask("POST", WRITE, "app-1", "wrong").status_code == 503

    def logged() -> list[int]:
        lines = gateway.log.read_text(encoding="utf-8").splitlines()
        handled = [json.loads(x) for x in lines if "handled request" in x and WRITE in x]
        return [item["status"] for item in handled if item["request"]["method"] == "POST"]

    poll(lambda: 503 in logged(), lambda: f"the refusal, found {logged()}")
    assert 200 not in logged()


STREAM = (("service_name", "erp-backend-api"), ("environment", "staging"), ("host", "app-1"))
WHOLE = '{environment="staging",host="app-1",service_name="erp-backend-api"}'


def _writer(gateway: Gateway) -> tuple[str, str]:
    return "app-1", gateway.secrets[secrets.writer_secret("app-1")]


def _written(
    gateway: Gateway,
    resource: Fields,
    *attributes: Fields,
    query: str = "",
    headers: Mapping[str, str] | None = None,
) -> list[dict[str, str]]:
    """The records that the engine has of a batch that app-1 sent, without their own fields."""
    mark = marker()
    sent = otlp_batch(resource, mark, *attributes)
    types = {**BATCH, **(headers or {})}
    assert gateway.status("POST", WRITE + query, "app-1", data=sent, headers=types) == 200
    password = gateway.secrets[secrets.reader_secret("alice")]

    def found() -> list[str]:
        text = {"query": f'_msg:="{mark}"'}
        return gateway.ask("POST", READ, "alice", password, data=text).text.splitlines()

    poll(lambda: len(found()) == len(attributes), lambda: f"{len(attributes)} records: {found()}")
    own = ("_msg", "_time", "_stream_id")
    rows = [json.loads(text) for text in found()]
    return [{name: text for name, text in row.items() if name not in own} for row in rows]


@pytest.mark.parametrize("where", ["resource and record", "record", "resource"])
def test_a_host_that_is_there_twice_does_not_stop_the_engine(gateway: Gateway, where: str) -> None:
    """VictoriaLogs panics when a stream field of a record is; the gateway sets this one itself."""
    resource = [*STREAM, *([("host", "other")] if where == "resource" else [])]
    attributes = [("host", "other")] * {"resource": 0, "record": 2, "resource and record": 1}[where]
    chosen = {"VL-Stream-Fields": "n", "VL-Extra-Fields": "a=b"}
    for headers in ({}, chosen):
        (row,) = _written(gateway, resource, attributes, headers=headers)
        assert row["host"] == "app-1"


def test_a_host_writes_as_itself(gateway: Gateway) -> None:
    """Whichever host the batch names, and where it names none."""
    forged = [("service_name", "billing"), ("host", "logs-1")]
    rows = _written(gateway, forged, [("host", "app-2")], [])
    rows += _written(gateway, [("service_name", "billing")], [("n", "1")])
    assert [row["host"] for row in rows] == ["app-1"] * 3


def test_a_host_with_one_service_writes_as_that(gateway: Gateway) -> None:
    """Not as one of the stack, which rules believe, nor as that of another host."""
    for claimed in ("logstack-archiver", "billing"):
        forged = [("service_name", claimed), ("environment", "staging")]
        (row, other) = _written(gateway, forged, [("service_name", claimed)], [])
        assert row["service_name"] == other["service_name"] == "erp-backend-api"


@pytest.mark.parametrize(
    "arguments",
    [
        {"_stream_fields": "service_name"},
        {"extra_fields": "host=logs-1"},
        {"ignore_fields": "*"},
        {"_msg_field": "n"},
        {"debug": "1"},
    ],
    ids=lambda item: next(iter(item)),
)
@pytest.mark.parametrize("way", ["query", "headers"])
def test_how_records_are_stored_is_not_the_client_s_choice(
    gateway: Gateway, arguments: dict[str, str], way: str
) -> None:
    """Neither by the query nor by headers, in any spelling, nor in another tenant."""
    ((name, value),) = arguments.items()
    header = "vl-" + name.strip("_").replace("_", "-")
    asked: dict[str, Any] = (
        {"query": f"?{name}={value}"}
        if way == "query"
        else {"headers": {header: value, "AccountID": "7", "projectid": "8"}}
    )
    (row,) = _written(gateway, STREAM, [("n", "1")], **asked)
    assert row == {**dict(STREAM), "n": "1", "_stream": WHOLE}


def test_the_collector_delivers_through_it(gateway: Gateway, tmp_path: Path) -> None:
    """It proves the certificate, shows its password from a file, and the record comes back."""
    mark = marker()
    with running_host(tmp_path, gateway.settings, gateway.secrets, "app-1", "otelcol") as host:
        log = _app_log(host)
        log.write_text(line(record("through the gateway", mark=mark)) + "\n", encoding="utf-8")
        password = gateway.secrets[secrets.reader_secret("alice")]

        def found() -> list[str]:
            query = {"query": f'mark:="{mark}"'}
            answer = gateway.ask("POST", READ, "alice", password, data=query)
            return answer.text.splitlines()

        output = tmp_path / "process-otelcol" / "output.log"
        (text,) = poll(found, lambda: f"the record. The collector's log:\n{output.read_text()}")
        values = json.loads(text)
        assert (values["_msg"], values["host"]) == ("through the gateway", "app-1")
        assert password not in output.read_text(encoding="utf-8")
        assert not any(gateway.secrets["writer_app-1"] in word for word in _argv(host))


def test_a_wrong_password_makes_the_collector_wait(gateway: Gateway, tmp_path: Path) -> None:
    """It keeps the record and delivers it once, when the password is right: a rotation."""
    mark = marker()
    name = secrets.writer_secret("app-1")
    wrong = {**gateway.secrets, name: "of yesterday"}
    with running_host(tmp_path, gateway.settings, wrong, "app-1", "otelcol") as host:
        _app_log(host).write_text(line(record("kept", mark=mark)) + "\n", encoding="utf-8")
        output = tmp_path / "process-otelcol" / "output.log"
        poll(
            lambda: "503" in output.read_text(encoding="utf-8"),
            lambda: f"a refusal in\n{output.read_text()}",
        )
    with running_host(tmp_path, gateway.settings, gateway.secrets, "app-1", "otelcol"):
        password = gateway.secrets[secrets.reader_secret("alice")]
        query = {"query": f'mark:="{mark}"'}
        poll(
            lambda: gateway.ask("POST", READ, "alice", password, data=query).text,
            lambda: f"the record. The collector's log:\n{output.read_text()}",
        )
    assert len(gateway.ask("POST", READ, "alice", password, data=query).text.splitlines()) == 1


def test_the_collector_does_not_deliver_to_a_stranger(gateway: Gateway, tmp_path: Path) -> None:
    """With another authority nothing is sent; the record stays in the queue."""
    mark = marker()
    known = {**gateway.secrets, **made_secrets(tmp_path, gateway.settings)}
    with running_host(tmp_path, gateway.settings, known, "app-1", "otelcol") as host:
        _app_log(host).write_text(line(record("kept", mark=mark)) + "\n", encoding="utf-8")
        output = tmp_path / "process-otelcol" / "output.log"
        poll(
            lambda: "certificate" in output.read_text(encoding="utf-8"),
            lambda: f"a complaint about the certificate in\n{output.read_text()}",
        )
    engine = VictoriaLogs(f"http://127.0.0.1:{gateway.settings.ports.victorialogs}")
    answer = requests.post(f"{engine.url}{READ}", data={"query": f'mark:="{mark}"'}, timeout=10)
    assert answer.text == ""


def _app_log(host: HostUnderTest) -> Path:
    path = Path(f"{host.root}/var/log/erp-backend-api/app.log")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _argv(host: HostUnderTest) -> list[str]:
    return host.argv("otelcol", Path("/"))
