"""`logs`, `query`, `report` and `alerts list` of an environment, through the gateway of its hosts.

Caddy with the rendered Caddyfile and the environment's own CA, before VictoriaLogs and vmalert.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from stack.alerting.throwaway import flush
from stack.engines.loki import Loki
from stack.engines.victorialogs import VictoriaLogs
from stack.hosts import secrets
from stack.hosts.certificates import make_authority
from stack.settings import Settings
from tests.support.commands import run_here
from tests.support.host_processes import fleet_settings, made_secrets, running_host
from tests.support.native_stack import logstack_argv, marker, poll, record

pytestmark = pytest.mark.native

SERVER = {"address": "127.0.0.1", "roles": ["log_server", "alerting"]}
# No host has it.
SILENT = {"address": "255.255.255.255", "roles": ["log_server"]}
READERS = ["alice", "bob"]


@dataclass
class Environment:
    """A running log server and what the control machine knows of it."""

    folder: Path
    values: Settings
    secrets: dict[str, str]

    def settings_file(self, hosts: Mapping[str, object], readers: list[str], **more: str) -> Path:
        """What an operator has in settings.staging.local.toml."""
        lines = ["[ports]", "offset = 0"]
        lines += [f"{name} = {port}" for name, port in self.values.ports if name != "offset"]
        lines += ["[gateway]", f"readers = {json.dumps(readers)}"]
        lines += [f'{name} = "{text}"' for name, text in more.items()]
        for name, host in hosts.items():
            assert isinstance(host, dict)
            lines += [f"[hosts.{name}]", *(f"{key} = {json.dumps(host[key])}" for key in host)]
        path = self.folder / "staging.toml"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def environ(
        self,
        hosts: Mapping[str, object] | None = None,
        readers: list[str] | None = None,
        **more: str,
    ) -> dict[str, str]:
        readers = READERS if readers is None else readers
        file = self.settings_file(hosts or {"logs-1": SERVER}, readers, **more)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("LOGSTACK_")}
        return {
            **inherited,
            "LOGSTACK_SETTINGS": str(file),
            "LOGSTACK_SECRETS": str(self.folder / "secrets.json"),
            "COLUMNS": "250",
        }

    def run(
        self, *arguments: str, environ: Mapping[str, str] | None = None, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        found = run_here(arguments, {**(environ or self.environ()), **extra}, self.folder)
        shown = found.stdout + found.stderr
        assert not any(value in shown for value in self.secrets.values())
        return found

    def push(self, mark: str, **fields: str) -> None:
        """A record as an agent would have delivered it."""
        engine = VictoriaLogs(f"http://127.0.0.1:{self.values.ports.victorialogs}")
        engine.push([record("read from afar", mark=mark, environment="staging", **fields)])
        flush(engine)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.values.ports.gateway}"


@pytest.fixture(scope="module")
def staging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    folder = tmp_path_factory.mktemp("log-server")
    values = fleet_settings(hosts={"logs-1": SERVER}, gateway={"readers": READERS})
    known = made_secrets(folder, values)
    with running_host(folder, values, known, "logs-1", "victorialogs", "vmalert", "gateway"):
        yield Environment(folder, values, known)


def refused(result: subprocess.CompletedProcess[str]) -> str:
    """The one message of a command that failed."""
    assert (result.returncode, result.stdout) == (1, ""), result
    assert "Traceback" not in result.stderr
    return result.stderr.strip()


def test_records_of_hosts_are_shown(staging: Environment) -> None:
    mark = marker()
    staging.push(mark, request_id=mark)
    found = staging.run("logs", "--env", "staging", "--request-id", mark)
    assert (found.returncode, "read from afar" in found.stdout) == (0, True), found
    assert f"Reading staging: logs-1 at {staging.url}, as alice" in found.stderr
    assert staging.run("logs", "--request-id", mark, LOGSTACK_ENV="staging").stdout == found.stdout
    asked = ("query", f'mark:="{mark}" | stats count() as n', "--json", "--env", "staging")
    assert json.loads(staging.run(*asked).stdout) == {"n": "1"}


def test_the_environment_never_means_the_records_of_this_machine(
    staging: Environment, tmp_path: Path
) -> None:
    """A stack that runs here, with records, is not read."""
    mark = marker()
    staging.push(mark, request_id=mark)
    environ = staging.environ({"logs-1": SILENT}, ["alice"])
    with_env = staging.run("logs", "--request-id", mark, environ=environ, LOGSTACK_ENV="staging")
    assert refused(with_env).startswith("cannot reach the gateway of staging: logs-1 at https://")
    folders = {f"LOGSTACK_PATHS__{name}": f"{tmp_path}/{name}" for name in ("RUN", "DATA")}
    here = {**environ, **folders}
    local = staging.run("logs", "--request-id", mark, environ=here)
    assert "read from afar" in local.stdout, "without LOGSTACK_ENV this machine is read"


def test_new_records_of_hosts_are_followed(staging: Environment) -> None:
    mark = marker()
    argv = logstack_argv("logs", "--follow", "--env", "staging", "--request-id", mark, "--json")
    errors = staging.folder / "follow.txt"
    with (
        errors.open("w", encoding="utf-8") as stderr,
        subprocess.Popen(
            argv, env=staging.environ(), stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as follow,
    ):
        try:
            poll(lambda: "Reading staging" in errors.read_text("utf-8"), "a gateway that answers")
            staging.push(mark, request_id=mark)
            assert follow.stdout is not None
            assert json.loads(follow.stdout.readline())["mark"] == mark
        finally:
            follow.terminate()


def test_a_report_of_hosts(staging: Environment, tmp_path: Path) -> None:
    mark = marker()
    staging.push(mark, level="ERROR", service_name=f"s-{mark}")
    out = tmp_path / "report.html"
    done = staging.run("report", "--since", "1h", "--out", str(out), "--env", "staging")
    assert done.returncode == 0, done
    text = out.read_text(encoding="utf-8")
    assert f"s-{mark}" in text
    assert "cannot query" not in text


def test_the_states_of_rules_on_hosts(staging: Environment) -> None:
    """vmalert evaluates them; their names and thresholds come from this checkout."""

    def states() -> set[str]:
        listed = staging.run("alerts", "list", "--json", "--env", "staging")
        assert listed.returncode == 0, listed
        return {row["state"] for row in json.loads(listed.stdout)}

    assert states() <= {"inactive", "pending", "firing", "off"}
    assert states(), "expected rules"


def rule_about(request_id: str, folder: Path) -> str:
    """The file of a rule that fires on records of a request."""
    path = folder / "mine.yaml"
    path.write_text(
        f"""rules:
  - name: Mine
    where: {{request_id: {request_id}, message: ~"from afar"}}
    window: 5m
    above: 0
    for: 0s
    severity: ticket
    summary: It is read
    description: It is read from afar.
    dashboard: errors
    runbook: Mine
""",
        encoding="utf-8",
    )
    return str(path)


def test_a_rule_is_tried_on_the_records_of_hosts(staging: Environment, tmp_path: Path) -> None:
    mark = marker()
    staging.push(mark, request_id=mark)
    staging.push(mark, request_id=mark)
    asked = ("alerts", "try", rule_about(mark, tmp_path), "--since", "10m", "--json")
    found = staging.run(*asked, "--env", "staging")
    assert found.returncode == 0, found
    [firing] = json.loads(found.stdout)
    assert (firing["rule"], firing["highest"]) == ("Mine", 2)
    assert firing["labels"]["service_name"] == "erp-backend-api"


@pytest.mark.loki
def test_loki_is_read_as_the_tenant_of_the_agents(tmp_path: Path) -> None:
    """The gateway names the tenant; records, rows, charts and the ruler's rules come through."""
    values = fleet_settings(
        stack={"engine": "loki"}, hosts={"logs-1": SERVER}, gateway={"readers": READERS}
    )
    mark = marker()
    staging = Environment(tmp_path, values, made_secrets(tmp_path, values))
    environ = {**staging.environ(), "LOGSTACK_STACK__ENGINE": "loki", "LOGSTACK_ENV": "staging"}
    with running_host(tmp_path, values, staging.secrets, "logs-1", "loki", "gateway"):
        Loki(f"http://127.0.0.1:{values.ports.loki}").push(
            [record("read from afar", request_id=mark, environment="staging")]
        )
        found = staging.run("logs", "--request-id", mark, environ=environ)
        assert (found.returncode, "read from afar" in found.stdout) == (0, True), found
        rows = staging.run(
            "query", f'{{service_name=~".+"}} | request_id="{mark}"', "--json", environ=environ
        )
        assert mark in rows.stdout, rows
        report = staging.run("report", "--since", "1h", environ=environ)
        assert "cannot query" not in (tmp_path / "report.html").read_text("utf-8"), report
        listed = staging.run("alerts", "list", "--json", environ=environ)
        assert listed.returncode == 0, listed
        assert "inactive" in {row["state"] for row in json.loads(listed.stdout)}
        file = rule_about(mark, tmp_path)
        tried = staging.run("alerts", "try", file, "--since", "10m", "--json", environ=environ)
        assert tried.returncode == 0, tried
        assert [item["highest"] for item in json.loads(tried.stdout)] == [1]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/rules", 200),
        ("POST", "/api/v1/rules", 404),
        ("GET", "/api/v1/rules/", 404),
        ("GET", "/api/v1/alerts", 404),
        ("GET", "/-/reload", 404),
        ("GET", "/metrics", 404),
        ("GET", "/api/v1/rules/../../../-/reload", 404),
    ],
)
def test_readers_reach_the_rules_alone(
    staging: Environment, method: str, path: str, status: int
) -> None:
    """And only with their password: vmalert can also reload its files and answers anyone."""
    ca = staging.folder / "ca.pem"
    ca.write_text(staging.secrets[secrets.CA_CERTIFICATE], encoding="utf-8")
    for user, password, expected in (
        ("alice", staging.secrets["reader_alice"], status),
        ("alice", "wrong", 401 if status == 200 else status),
        ("logs-1", staging.secrets["writer_logs-1"], 401 if status == 200 else status),
    ):
        request = requests.Request(method, staging.url).prepare()
        request.url = staging.url + path
        request.prepare_auth((user, password))
        with requests.Session() as session:
            answer = session.send(request, verify=str(ca), timeout=10)
        assert answer.status_code == expected, (user, answer.text[:200])


def test_a_log_server_that_does_not_answer_is_skipped(staging: Environment) -> None:
    """The command names it, and the one that it reads."""
    mark = marker()
    staging.push(mark, request_id=mark)
    environ = staging.environ({"logs-0": SILENT, "logs-1": SERVER})
    found = staging.run("logs", "--env", "staging", "--request-id", mark, environ=environ)
    assert (found.returncode, "read from afar" in found.stdout) == (0, True), found
    silent = staging.url.replace("127.0.0.1", "255.255.255.255")
    assert f"No answer from logs-0 at {silent}: network is unreachable\n" in found.stderr
    assert "Reading staging: logs-1 at https://127.0.0.1" in found.stderr


def test_the_name_of_the_gateway_is_read_first(staging: Environment) -> None:
    environ = staging.environ({"logs-0": SILENT}, name="127.0.0.1")
    found = staging.run("query", "* | stats count()", "--env", "staging", environ=environ)
    assert found.returncode == 0, found
    assert f"Reading staging: 127.0.0.1 at {staging.url}" in found.stderr


def test_the_reader_is_chosen(staging: Environment) -> None:
    """By an option, a variable, or by the passwords that this machine has."""
    asked = ("query", "* | stats count()", "--env", "staging")
    assert "as bob" in staging.run(*asked, "--reader", "bob").stderr
    assert "as bob" in staging.run(*asked, LOGSTACK_READER="bob").stderr
    ca = {"LOGSTACK_SECRET_CA_CERTIFICATE": staging.secrets["ca_certificate"]}
    only = {**staging.environ(), "LOGSTACK_SECRETS": str(staging.folder / "none.json")}
    only |= {**ca, "LOGSTACK_SECRET_READER_BOB": staging.secrets["reader_bob"]}
    assert "as bob" in staging.run(*asked, environ=only).stderr
    assert refused(staging.run(*asked, "--reader", "carol")) == (
        "reader: expected one of gateway.readers (alice, bob), got 'carol'"
    )


def test_what_is_not_set_up_is_named(staging: Environment) -> None:
    install = "Run: ./logstack secrets init staging && make deploy ENV=staging"
    asked = ("logs", "--env", "staging")
    assert refused(staging.run(*asked, environ=staging.environ(readers=[]))) == (
        "cannot read staging: gateway.readers names no user. Add one to it in "
        f"settings.staging.local.toml. {install}"
    )
    none = {**staging.environ(), "LOGSTACK_SECRETS": str(staging.folder / "none.json")}
    assert refused(staging.run(*asked, environ=none)) == (
        "cannot read staging: the secret reader_alice is missing, in the file of its secrets and "
        f"as LOGSTACK_SECRET_READER_ALICE. {install}"
    )
    password = {"LOGSTACK_SECRET_READER_ALICE": "secret-of-alice"}
    assert "the secret ca_certificate is missing" in refused(
        staging.run(*asked, environ={**none, **password})
    )


@pytest.mark.parametrize("command", [("logs",), ("query", "*"), ("report",), ("alerts", "list")])
def test_a_wrong_password_is_an_error(staging: Environment, command: tuple[str, ...]) -> None:
    found = staging.run(*command, "--env", "staging", LOGSTACK_SECRET_READER_ALICE="pässword")
    assert refused(found) == (
        f"cannot read staging: {staging.url} rejected the password of alice (HTTP 401). "
        "Run: make deploy ENV=staging"
    )


def test_another_authority_is_not_trusted(staging: Environment) -> None:
    """Neither is the one that other programs of this machine are set to trust."""
    other = make_authority("staging").certificate
    ca = staging.folder / "trusted.pem"
    ca.write_text(staging.secrets[secrets.CA_CERTIFICATE], encoding="utf-8")
    found = staging.run(
        *("logs", "--env", "staging"),
        LOGSTACK_SECRET_CA_CERTIFICATE=other,
        REQUESTS_CA_BUNDLE=str(ca),
    )
    cause = f"cannot read staging: the certificate of {staging.url} is not trusted by the CA"
    assert refused(found).startswith(cause)
    assert refused(found).endswith("Run: make plan ENV=staging")
    broken = staging.run("logs", "--env", "staging", LOGSTACK_SECRET_CA_CERTIFICATE="nothing")
    assert "expected a certificate as PEM" in refused(broken)


def test_other_certificates_are_verified_with_the_cas_of_the_system(staging: Environment) -> None:
    environ = staging.environ(tls="files", certificate_file="c.pem", key_file="k.pem")
    found = staging.run("logs", "--env", "staging", environ=environ)
    assert "is not trusted by the CAs of this system" in refused(found)
    ca = staging.folder / "system.pem"
    ca.write_text(staging.secrets[secrets.CA_CERTIFICATE], encoding="utf-8")
    trusting = staging.run("logs", "--env", "staging", environ=environ, SSL_CERT_FILE=str(ca))
    assert trusting.returncode == 0, trusting


def test_a_gateway_that_does_not_know_readers_yet(tmp_path: Path) -> None:
    """One that was deployed before the first user was added to gateway.readers."""
    values = fleet_settings(hosts={"logs-1": SERVER}, gateway={"readers": []})
    before = Environment(tmp_path, values, made_secrets(tmp_path, values))
    with running_host(tmp_path, values, before.secrets, "logs-1", "gateway"):
        for command in (("logs",), ("alerts", "list")):
            found = before.run(*command, "--env", "staging", LOGSTACK_SECRET_READER_ALICE="new")
            assert refused(found) == (
                f"cannot read staging: {before.url} does not serve this to readers yet "
                "(HTTP 404). Run: make deploy ENV=staging"
            )


def test_a_gateway_without_its_engine_does_not_answer(tmp_path: Path) -> None:
    values = fleet_settings(hosts={"logs-1": SERVER}, gateway={"readers": READERS})
    known = made_secrets(tmp_path, values)
    alone = Environment(tmp_path, values, known)
    with running_host(tmp_path, values, known, "logs-1", "gateway"):
        for command in (("logs",), ("alerts", "list")):
            assert refused(alone.run(*command, "--env", "staging")) == (
                f"cannot reach the gateway of staging: logs-1 at {alone.url}: HTTP 502. "
                "Run: ./logstack doctor --env staging"
            )
    stopped = refused(alone.run("logs", "--env", "staging"))
    assert "connection refused. Run: ./logstack doctor --env staging" in stopped


@pytest.mark.parametrize(
    "command",
    [
        ("smoke",),
        ("traffic", "--duration", "1"),
        ("annotate", "deploy", "--version", "1"),
        ("alerts", "send", "--channel", "slack"),
        ("dashboards", "check"),
        ("logs", "--restored"),
    ],
    ids=" ".join,
)
def test_what_hosts_do_not_offer_is_refused(staging: Environment, command: tuple[str, ...]) -> None:
    message = refused(staging.run(*command, LOGSTACK_ENV="staging"))
    assert message.startswith("cannot ")
    assert "staging" in message
    assert "LOGSTACK_ENV" in message.partition("Run: ")[2]
