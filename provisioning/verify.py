"""Proves on the hosts what a deploy promises: records arrive, and policies are in force."""

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
from provisioning.deploy import Work
from provisioning.fleet import Fleet, Remote
from stack.alerting.rules import load_rules_for
from stack.hosts.files import PYTHON
from stack.hosts.roles import is_archived, roles_of, with_role
from stack.records.timestamps import format_time
from stack.settings.targets import host

refuse_as_deploy(__name__)

CANARY_SECONDS = 60
ARCHIVE_SECONDS = 60
CERTIFICATE_DAYS = 14


@dataclass(frozen=True)
class Finding:
    """One check of one host, and how long it took."""

    host: str
    ok: bool
    text: str
    seconds: float


def verify(work: Work) -> tuple[list[Finding], dict[str, str]]:
    """Every check on every host that answers, and why the others do not."""
    with Fleet(work.settings) as fleet:
        return checks(work, fleet), fleet.silent


def checks(work: Work, fleet: Fleet) -> list[Finding]:
    """Records first, then what the log servers have to say about their policies."""
    wanted: list[tuple[str, Callable[[Remote], str]]] = []
    for name in fleet.remotes:
        roles = roles_of(work.settings, name)
        if "app_host" in roles:
            wanted.append((name, lambda remote: check_canary(work, fleet, remote)))
        if "log_server" in roles:
            wanted.append((name, lambda remote: check_retention(work, remote)))
            wanted.append((name, lambda remote: check_certificate(work, remote)))
        if "alerting" in roles:
            wanted.append((name, lambda remote: check_rules(work, remote)))
        if "archive" in roles:
            wanted.append((name, lambda remote: check_archive(work, remote)))
    return [_timed(fleet.remotes[name], check) for name, check in wanted]


def _timed(remote: Remote, check: Callable[[Remote], str]) -> Finding:
    began = time.monotonic()
    try:
        text, ok = check(remote), True
    except DeployError as error:
        text, ok = str(error).removeprefix(f"{remote.name}: "), False
    return Finding(remote.name, ok, text, time.monotonic() - began)


def check_canary(work: Work, fleet: Fleet, remote: Remote) -> str:
    """A record written to an app's log comes back from every log server, parsed."""
    settings = work.settings
    if not settings.app_hosts.apps:
        return "no app logs to files here (app_hosts.apps): no canary"
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
    servers = [n for n in with_role(settings, "log_server") if n in fleet.remotes]
    for server in servers:
        found = _await(fleet.remotes[server], work, mark)
        wanted = {**record, "host": remote.name}
        names = ("level", "service_name", "environment", "request_id", "host", "logger_name")
        differing = [name for name in names if found.get(name) != wanted[name]]
        if differing:
            raise DeployError(f"the canary came back changed from {server}: {', '.join(differing)}")
    return f"a canary record came back parsed from {', '.join(servers)}"


def _await(server: Remote, work: Work, mark: str) -> dict[str, str]:
    deadline = time.monotonic() + CANARY_SECONDS
    while time.monotonic() < deadline:
        if record := readback.find_record(server, work.settings, mark):
            return record
        time.sleep(0.3)
    raise DeployError(
        f"wanted the canary within {CANARY_SECONDS} s from {server.name}, found nothing. "
        "Type: ./logstack doctor --env " + work.settings.stack.environment
    )


def check_retention(work: Work, remote: Remote) -> str:
    """The engine says of itself what the settings say."""
    archived = is_archived(work.settings, remote.name)
    wanted = work.settings.retention.engine_days(archived=archived)
    found = readback.retention(remote, work.settings)
    if found == timedelta(days=wanted):
        return f"records are kept {wanted} days"
    raise DeployError(f"wanted the engine to keep {wanted} days, found {found}")


def check_rules(work: Work, remote: Remote) -> str:
    """Exactly the rules of the plan are loaded, and none of them fails."""
    found = readback.loaded_rules(remote, work.settings)
    archived = is_archived(work.settings, remote.name)
    shipped = {
        rule.name for rule in load_rules_for(host(work.settings, remote.name, archived=archived))
    }
    loaded = {rule.name for rule in found}
    if loaded != shipped or len(found) != len(shipped):
        raise DeployError(
            f"wanted the {len(shipped)} shipped rules, found {len(found)}; not loaded: "
            f"{', '.join(sorted(shipped - loaded)) or 'none'}; not shipped: "
            f"{', '.join(sorted(loaded - shipped)) or 'none'}"
        )
    if failing := [rule.name for rule in found if rule.error]:
        raise DeployError(f"rules that cannot be evaluated: {', '.join(failing)}")
    return f"exactly the {len(shipped)} shipped rules are loaded"


def check_archive(work: Work, remote: Remote) -> str:
    """The archiver's own checks, of the engine, the store and its lock; its first run may go on."""
    (component,) = (c for c in work.plans[remote.name].components if c.name == "archiver")
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
        raise DeployError(f"wanted the archiver's checks, found: {answer['text']}") from None
    if bad:
        raise DeployError(f"archive: {'; '.join(bad)}")
    return f"archive: {', '.join(item['check'] for item in findings)} are as they should be"


def check_certificate(work: Work, remote: Remote) -> str:
    """The gateway shows a certificate that is good for its address and not about to end."""
    name = work.settings.hosts[remote.name].peer_address
    port = work.settings.ports.effective("gateway")
    answer = remote.ask("certificate", port=port, name=name)
    if not answer["ok"]:
        raise DeployError(f"wanted a certificate on port {port}, found: {answer['text']}")
    found = x509.load_pem_x509_certificate(answer["text"].encode())
    left = (found.not_valid_after_utc - datetime.now(UTC)).days
    if left < CERTIFICATE_DAYS:
        environment = work.settings.stack.environment
        mend = {
            "own_ca": f"./logstack secrets rotate {environment} certificate_{remote.name}",
            "files": f"new files for gateway.certificate_file, and make deploy ENV={environment}",
            "acme": f"journalctl -u logstack-gateway on {remote.name} says why it is not renewed",
        }[work.settings.gateway.tls]
        raise DeployError(
            f"wanted a certificate for {CERTIFICATE_DAYS} more days, found {left}. Mend it: {mend}"
        )
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = {str(item.value) for item in names}
    if name not in known and work.settings.gateway.name not in known:
        raise DeployError(f"wanted a certificate for {name}, found one for {', '.join(known)}")
    return f"its certificate is good for {left} more days"
