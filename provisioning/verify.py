"""Proves on the hosts what a deploy promises: records arrive, and policies are in force."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from cryptography import x509

from provisioning import DeployError
from provisioning.deploy import Work
from provisioning.fleet import Fleet, Remote
from stack.alerting.rules import load_rules_for
from stack.components import kept_days
from stack.hosts.fleet import roles_of, with_role
from stack.targets import host

CANARY_SECONDS = 60
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
    if work.settings.stack.engine != "victorialogs":
        engine = work.settings.stack.engine
        text = f"wanted victorialogs as the engine, found {engine}: verify cannot ask it yet"
        return [Finding("records", False, text, 0.0)]
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
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
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
    port = work.settings.ports.effective("victorialogs")
    text = quote(f'_time:10m request_id:="{mark}"')
    url = f"http://127.0.0.1:{port}/select/logsql/query?query={text}"
    deadline = time.monotonic() + CANARY_SECONDS
    while time.monotonic() < deadline:
        answer = server.ask("fetch", url=url)
        rows = [json.loads(line) for line in answer["text"].splitlines()] if answer["ok"] else []
        if rows:
            row: dict[str, str] = rows[0]
            return row
        time.sleep(0.3)
    raise DeployError(
        f"wanted the canary within {CANARY_SECONDS} s from {server.name}, found nothing. "
        "Type: ./logstack doctor --env " + work.settings.stack.environment
    )


def check_retention(work: Work, remote: Remote) -> str:
    """The engine's own flag is what the settings say."""
    wanted = f"{kept_days(host(work.settings, remote.name))}d"
    port = work.settings.ports.effective("victorialogs")
    answer = remote.ask("fetch", url=f"http://127.0.0.1:{port}/flags")
    if f'retentionPeriod="{wanted}"' in answer["text"]:
        return f"records are kept {wanted}"
    raise DeployError(f"wanted the engine to keep {wanted}, found {answer['text'][:200]}")


def check_rules(work: Work, remote: Remote) -> str:
    """Exactly the rules of the plan are loaded, and none of them fails."""
    port = work.settings.ports.effective("vmalert")
    answer = remote.ask("fetch", url=f"http://127.0.0.1:{port}/api/v1/rules")
    if not answer["ok"]:
        raise DeployError(f"wanted the loaded rules from vmalert, found: {answer['text']}")
    groups = json.loads(answer["text"])["data"]["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    shipped = {rule.name for rule in load_rules_for(host(work.settings, remote.name))}
    loaded = {rule["name"] for rule in found}
    if loaded != shipped or len(found) != len(shipped):
        raise DeployError(
            f"wanted the {len(shipped)} shipped rules, found {len(found)}; not loaded: "
            f"{', '.join(sorted(shipped - loaded)) or 'none'}; not shipped: "
            f"{', '.join(sorted(loaded - shipped)) or 'none'}"
        )
    if failing := [rule["name"] for rule in found if rule.get("lastError")]:
        raise DeployError(f"rules that cannot be evaluated: {', '.join(failing)}")
    return f"exactly the {len(shipped)} shipped rules are loaded"


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
        raise DeployError(
            f"wanted a certificate for {CERTIFICATE_DAYS} more days, found {left}. Renew it: "
            f"./logstack secrets rotate {work.settings.stack.environment} "
            f"certificate_{remote.name}"
        )
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = {str(item.value) for item in names}
    if name not in known and work.settings.gateway.name not in known:
        raise DeployError(f"wanted a certificate for {name}, found one for {', '.join(known)}")
    return f"its certificate is good for {left} more days"
