"""Verify a deploy on the hosts: records arrive, and policies are in force."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509

from provisioning import DeployError, readback, refuse_as_deploy
from provisioning.changes import target_of
from provisioning.deploy import Deployment
from provisioning.fleet import Fleet, Remote
from stack.alerting.rules import load_rules_for
from stack.hosts.files import PYTHON
from stack.hosts.roles import hosts_with_role, is_archived, roles_of
from stack.records.timestamps import format_time
from stack.settings.targets import host

refuse_as_deploy(__name__)

CANARY_SECONDS = 60
ARCHIVE_SECONDS = 60
CERTIFICATE_DAYS = 14


@dataclass(frozen=True)
class HostFinding:
    """The result of one check on one host, and its duration in seconds."""

    host: str
    ok: bool
    text: str
    seconds: float = 0.0


def verify(deployment: Deployment) -> tuple[list[HostFinding], dict[str, str]]:
    """Run every check on every reachable host; returns the errors of the others too."""
    with Fleet(deployment.settings) as fleet:
        return checks(deployment, fleet), fleet.unreachable


def checks(deployment: Deployment, fleet: Fleet) -> list[HostFinding]:
    """Run the checks of records, then those of the log servers' policies."""
    planned: list[tuple[str, Callable[[Remote], str]]] = []
    for name in fleet.remotes:
        roles = roles_of(deployment.settings, name)
        if "app_host" in roles:
            planned.append((name, lambda remote: check_canary(deployment, fleet, remote)))
        if "log_server" in roles:
            planned.append((name, lambda remote: check_retention(deployment, remote)))
            planned.append((name, lambda remote: check_certificate(deployment, remote)))
        if "alerting" in roles:
            planned.append((name, lambda remote: check_rules(deployment, remote)))
        if "archive" in roles:
            planned.append((name, lambda remote: check_archive(deployment, remote)))
    return [_run_check(fleet.remotes[name], check) for name, check in planned]


def _run_check(remote: Remote, check: Callable[[Remote], str]) -> HostFinding:
    began = time.monotonic()
    try:
        text, ok = check(remote), True
    except DeployError as error:
        text, ok = str(error).removeprefix(f"{remote.name}: "), False
    return HostFinding(remote.name, ok, text, time.monotonic() - began)


def check_canary(deployment: Deployment, fleet: Fleet, remote: Remote) -> str:
    """Write a record to an app's log and read it from every log server, parsed."""
    settings = deployment.settings
    if not settings.app_hosts.apps:
        return "no app logs to files (app_hosts.apps): canary skipped"
    app = settings.app_hosts.apps[0]
    mark = f"canary-{uuid.uuid4()}"
    record = {
        "timestamp": format_time(datetime.now(UTC)),
        "level": "INFO",
        "logger_name": "logstack.canary",
        "message": "A canary of `logstack hosts verify`",
        "service_name": app.service,
        "environment": settings.stack.environment,
        "request_id": mark,
    }
    path = f"/var/log/{app.service}/logstack-canary.log"
    remote.ask("append", path=path, line=json.dumps(record))
    servers = [n for n in hosts_with_role(settings, "log_server") if n in fleet.remotes]
    for server in servers:
        found = _wait_for_record(fleet.remotes[server], deployment, mark)
        expected = {**record, "host": remote.name}
        names = ("level", "service_name", "environment", "request_id", "host", "logger_name")
        differing = [name for name in names if found.get(name) != expected[name]]
        if differing:
            raise DeployError(f"the canary record from {server} differs in: {', '.join(differing)}")
    return f"a canary record was read back parsed from {', '.join(servers)}"


def _wait_for_record(server: Remote, deployment: Deployment, mark: str) -> dict[str, str]:
    deadline = time.monotonic() + CANARY_SECONDS
    while time.monotonic() < deadline:
        if record := readback.find_record(server, deployment.settings, mark):
            return record
        time.sleep(0.3)
    raise DeployError(
        f"expected the canary record on {server.name} within {CANARY_SECONDS} s, got none. "
        "Run: ./logstack doctor --env " + deployment.settings.stack.environment
    )


def check_retention(deployment: Deployment, remote: Remote) -> str:
    """The engine's own retention equals the settings."""
    archived = is_archived(deployment.settings, remote.name)
    expected = deployment.settings.retention.engine_days(archived=archived)
    found = readback.retention(remote, deployment.settings)
    if found == timedelta(days=expected):
        return f"records are kept {expected} days"
    raise DeployError(f"retention: expected {expected} days, got {found}")


def check_rules(deployment: Deployment, remote: Remote) -> str:
    """Exactly the plan's rules are loaded, and none has an evaluation error."""
    found = readback.loaded_rules(remote, deployment.settings)
    archived = is_archived(deployment.settings, remote.name)
    shipped = {
        rule.name
        for rule in load_rules_for(host(deployment.settings, remote.name, archived=archived))
    }
    loaded = {rule.name for rule in found}
    if loaded != shipped or len(found) != len(shipped):
        raise DeployError(
            f"rules: expected the {len(shipped)} shipped ones, got {len(found)}; not loaded: "
            f"{', '.join(sorted(shipped - loaded)) or 'none'}; not shipped: "
            f"{', '.join(sorted(loaded - shipped)) or 'none'}"
        )
    if failing := [rule.name for rule in found if rule.error]:
        raise DeployError(f"rules with evaluation errors: {', '.join(failing)}")
    return f"exactly the {len(shipped)} shipped rules are loaded"


def check_archive(deployment: Deployment, remote: Remote) -> str:
    """The archiver's own checks: engine, store, lock. Waits while its first run goes on."""
    (component,) = (c for c in deployment.plans[remote.name].components if c.name == "archiver")
    argv = [PYTHON, "-I", f"{target_of(component)}/lib", "doctor"]
    deadline = time.monotonic() + ARCHIVE_SECONDS
    while True:
        answer = remote.ask("check", user=component.user, argv=argv, most=20_000)
        if answer["ok"] or time.monotonic() > deadline:
            break
        time.sleep(1)
    try:
        findings = json.loads(answer["text"].splitlines()[-1])
        bad = [f"{item['check']}: {item['text']}" for item in findings if not item["ok"]]
    except (ValueError, IndexError, TypeError):
        raise DeployError(f"cannot read the archiver's checks: {answer['text']}") from None
    if bad:
        raise DeployError(f"archive: {'; '.join(bad)}")
    return f"archive: checks passed: {', '.join(item['check'] for item in findings)}"


def check_certificate(deployment: Deployment, remote: Remote) -> str:
    """The gateway's certificate is valid for its address and does not expire soon."""
    name = deployment.settings.hosts[remote.name].peer_address
    port = deployment.settings.ports.effective("gateway")
    answer = remote.ask("certificate", port=port, name=name)
    if not answer["ok"]:
        raise DeployError(f"cannot read the certificate on port {port}: {answer['text']}")
    found = x509.load_pem_x509_certificate(answer["text"].encode())
    left = (found.not_valid_after_utc - datetime.now(UTC)).days
    if left < CERTIFICATE_DAYS:
        environment = deployment.settings.stack.environment
        remedy = {
            "own_ca": f"Run: ./logstack secrets rotate {environment} certificate_{remote.name}",
            "files": f"Renew gateway.certificate_file. Run: make deploy ENV={environment}",
            "acme": f"See why on {remote.name}. Run: journalctl -u logstack-gateway",
        }[deployment.settings.gateway.tls]
        raise DeployError(
            f"certificate: expected {CERTIFICATE_DAYS} or more valid days, got {left}. {remedy}"
        )
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = {str(item.value) for item in names}
    if name not in known and deployment.settings.gateway.name not in known:
        raise DeployError(f"certificate: expected the name {name}, got {', '.join(known)}")
    return f"the certificate is valid for {left} more days"
