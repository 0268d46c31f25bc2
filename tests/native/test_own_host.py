"""With Loki a gateway compares the host of each stream: a host writes as itself alone."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import zstandard

from stack.engines.facts import LOKI_TENANT
from stack.hosts import secrets
from stack.settings import Settings
from tests.support.host_processes import fleet_settings, made_secrets, running_host
from tests.support.native_stack import line, marker, poll, record
from tests.support.otlp import Fields, otlp_batch

pytestmark = pytest.mark.native
OTLP, PUSH = "/otlp/v1/logs", "/loki/api/v1/push"
BATCH = {"Content-Type": "application/x-protobuf"}
OWN: Fields = [("service.name", "billing"), ("host", "app-1")]
OTHERS: Fields = [("service.name", "billing"), ("host", "logs-1")]


@dataclass
class Gateway:
    """A log server with Loki, and everybody's secrets."""

    settings: Settings
    known: dict[str, str]
    authority: str
    log: Path

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> int:
        """The status of a batch of app-1."""
        return requests.post(
            f"https://127.0.0.1:{self.settings.ports.gateway}{path}",
            data=body,
            headers={**BATCH, **(headers or {})},
            auth=("app-1", self.known[secrets.writer_secret("app-1")]),
            verify=self.authority,
            timeout=10,
        ).status_code

    def hosts(self, text: str) -> list[str]:
        """The hosts of the stored records with a text."""
        answer = requests.get(
            f"http://127.0.0.1:{self.settings.ports.loki}/loki/api/v1/query_range",
            {"query": f'{{service_name=~".+"}} |= "{text}"'},
            headers={"X-Scope-OrgID": LOKI_TENANT},
            timeout=10,
        )
        return [item["stream"].get("host", "") for item in answer.json()["data"]["result"]]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("log-server")
    values = fleet_settings(stack={"engine": "loki"})
    known = made_secrets(folder, values)
    with running_host(folder, values, known, "logs-1", "loki", "gateway"):
        authority = folder / "ca.pem"
        authority.write_text(known[secrets.CA_CERTIFICATE], encoding="utf-8")
        log = folder / "process-gateway" / "output.log"
        yield Gateway(values, known, str(authority), log)


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_host_writes_as_itself(gateway: Gateway, encoding: str) -> None:
    """However its batch is compressed; one that names another host as well is refused whole."""
    headers = {"Content-Encoding": encoding} if encoding else {}
    compress = ENCODINGS[encoding]
    mark, refused = marker(), marker()
    own, forged = otlp_batch(OWN, mark, []), otlp_batch(OTHERS, refused, [])
    assert gateway.post(OTLP, compress(own), headers) == 204
    assert gateway.post(OTLP, compress(forged), headers) == 403
    assert gateway.post(OTLP, compress(otlp_batch(OWN, refused, []) + forged), headers) == 403
    poll(lambda: gateway.hosts(mark) == ["app-1"], "the record")
    assert gateway.hosts(refused) == []


@pytest.mark.parametrize(
    "resource",
    [
        [("service.name", "billing")],
        [*OWN, ("host", "logs-1")],
        [*OTHERS, ("host", "app-1")],
        [*OWN, ("host", "app-1")],
        [("service.name", "billing"), ("host", "app-1\x00")],
        [("service.name", "billing"), ("host", "app-12")],
        [("service.name", "billing"), ("host", "x" * 100_000)],
    ],
    ids=["none", "both", "both in another order", "twice", "with a NUL", "longer", "long"],
)
def test_what_could_be_read_as_another_host_is_refused(gateway: Gateway, resource: Fields) -> None:
    """Loki would choose one."""
    refused = marker()
    assert gateway.post(OTLP, otlp_batch(resource, refused, [])) == 403
    assert gateway.hosts(refused) == []


def with_number(batch: bytes, number: int) -> bytes:
    """A batch whose first field has another number, of up to 64 bits."""
    tag, bits = b"", number << 3 | 2
    while bits > 0x7F:
        tag += bytes([bits & 0x7F | 0x80])
        bits >>= 7
    return tag + bytes([bits]) + batch[1:]


@pytest.mark.parametrize(
    ("change", "headers"),
    [
        (lambda batch: with_number(batch, 2**32 + 1), {}),  # which Loki reads as 1
        (lambda batch: batch[:-1], {}),
        (lambda batch: batch + b"\x0b", {}),
        (lambda batch: batch, {"Content-Encoding": "lz4"}),
        (lambda batch: batch, {"Content-Encoding": "gzip"}),
        (lambda batch: json.dumps({"resourceLogs": []}).encode(), {}),
    ],
    ids=["a number of 33 bits", "cut", "a group", "lz4", "no gzip", "JSON"],
)
def test_what_no_agent_sends_is_refused(
    gateway: Gateway, change: Callable[[bytes], bytes], headers: Mapping[str, str]
) -> None:
    """Also of its own host, as Loki might read it in another way."""
    assert gateway.post(OTLP, change(otlp_batch(OWN, marker(), [])), headers) == 403


def test_a_refused_batch_is_logged_and_an_accepted_one_is_not(gateway: Gateway) -> None:
    """An operator finds who tries to write as another host."""

    def logged() -> list[int]:
        lines = map(json.loads, gateway.log.read_text(encoding="utf-8").splitlines())
        return [item["status"] for item in lines if item["msg"] == "handled request"]

    before = len(logged())
    gateway.post(OTLP, otlp_batch(OWN, marker(), []))
    gateway.post(OTLP, otlp_batch(OTHERS, marker(), []))
    poll(lambda: len(logged()) > before, "the request in the log")
    assert logged()[before:] == [403]


def test_an_empty_batch_reaches_loki(gateway: Gateway) -> None:
    """The monitor asks so whether records would be taken: this is Loki's own answer."""
    assert gateway.post(OTLP, b"") == 422


def test_the_collector_delivers_through_it(gateway: Gateway, tmp_path: Path) -> None:
    """Its batches have the form that is expected."""
    mark = marker()
    with running_host(tmp_path, gateway.settings, gateway.known, "app-1", "otelcol") as host:
        folder = host.root / "var/log/erp-backend-api"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "app.log").write_text(line(record("own", mark=mark)) + "\n", encoding="utf-8")
        output = tmp_path / "process-otelcol" / "output.log"
        poll(lambda: gateway.hosts(mark) == ["app-1"], lambda: output.read_text(encoding="utf-8"))


def push_request(*labels: str, text: str) -> bytes:
    """A PushRequest of Loki with a record in each stream, as snappy without compression."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2]) + size(len(content)) + content

    def size(value: int) -> bytes:
        low, rest = value & 0x7F, value >> 7
        return bytes([low | 0x80]) + size(rest) if rest else bytes([low])

    entry = field(1, b"\x08" + size(int(time.time()))) + field(2, text.encode())
    batch = b"".join(field(1, field(1, item.encode()) + field(2, entry)) for item in labels)
    literal = bytes([61 << 2]) + (len(batch) - 1).to_bytes(2, "little") + batch
    return size(len(batch)) + literal


@pytest.mark.parametrize(
    ("labels", "status"),
    [
        (['{host="app-1", service_name="billing"}'], 204),
        (['{service_name="a, host=\\"logs-1\\"", host="app-1"}'], 204),
        (['{host="logs-1", service_name="billing"}'], 403),
        (['{service_name="billing"}'], 403),
        (['{host="app-1", service_name="a"}', '{host="logs-1", service_name="a"}'], 403),
        (['{host="app-1", host="logs-1"}'], 403),
        (['{service_name="a", "host"="logs-1"}'], 403),
        (["{host=`logs-1`, service_name='a'}"], 403),
        (['{service_name="host=\\"app-1\\"", host="logs-1"}'], 403),
        (['{host="app-1"} # {host="logs-1"}'], 403),
    ],
)
def test_the_same_of_promtail(gateway: Gateway, labels: list[str], status: int) -> None:
    """Its batches have labels as text, of which Loki takes more forms than Promtail writes."""
    text = marker()
    assert gateway.post(PUSH, push_request(*labels, text=text)) == status
    if status == 204:
        poll(lambda: gateway.hosts(text) == ["app-1"], "the record")
    else:
        assert gateway.hosts(text) == []
