"""Whether records arrive and policies are in force. Each check returns a sentence or raises."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime, timedelta

from cryptography import x509

from provisioning import DeployError
from provisioning.changes import link_of
from provisioning.checks import readback
from provisioning.run import Run
from provisioning.session import Session
from stack.alerting.rules import load_rules_for
from stack.common.counted import counted
from stack.engines.kinds import kind_of
from stack.hosts.files import PYTHON
from stack.hosts.gateway import certificate_command
from stack.hosts.roles import hosts_with_role, is_archived
from stack.monitor.logs import delivery_cause
from stack.records.timestamps import format_time
from stack.settings.targets import host as host_target

CANARY_SECONDS = 60
ARCHIVE_SECONDS = 60
CERTIFICATE_DAYS = 14


def check_canary(run: Run, session: Session) -> str:
    """Write a record to an app's log and read it from every log server, parsed."""
    settings = run.deployment.settings
    if not settings.app_hosts.apps:
        return "no app logs to files (app_hosts.apps): canary skipped"
    servers = [n for n in hosts_with_role(settings, "log_server") if n in run.sessions]
    if not servers:
        return "this run has no log server: canary skipped"
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
    session.ask("append", path=path, line=json.dumps(record))
    for server in servers:
        found = _wait_for_record(run, session, run.sessions[server], mark)
        expected = {**record, "host": session.name}
        names = ("level", "service_name", "environment", "request_id", "host", "logger_name")
        differing = [name for name in names if found.get(name) != expected[name]]
        if differing:
            raise DeployError(f"the canary record from {server} differs in: {', '.join(differing)}")
    return f"a canary record was read back parsed from {', '.join(servers)}"


def _wait_for_record(run: Run, app: Session, session: Session, mark: str) -> dict[str, str]:
    """The record from a log server. Raises DeployError with what the agent said last."""
    settings = run.deployment.settings
    deadline = time.monotonic() + CANARY_SECONDS
    while time.monotonic() < deadline:
        if record := readback.find_record(session, settings, mark):
            return record
        time.sleep(0.3)
    said = app.ask("journal", name=settings.stack.agent, lines=100)["text"].splitlines()
    causes = (cause for line in reversed(said) if (cause := delivery_cause(line, "")))
    raise DeployError(
        f"expected the canary record on {session.name} within {CANARY_SECONDS} s, got none: "
        f"{next(causes, 'the agent of the host names no error of delivery')}. "
        f"Run on {app.name}: journalctl -u logstack-{settings.stack.agent} -n 20"
    )


def check_retention(run: Run, session: Session) -> str:
    """The engine's own retention equals the settings."""
    archived = is_archived(run.deployment.settings, session.name)
    expected = run.deployment.settings.retention.engine_days(archived=archived)
    found = readback.retention(session, run.deployment.settings)
    if found == timedelta(days=expected):
        return f"records are kept {counted(expected, 'day')}"
    raise DeployError(
        f"the engine's retention: expected {counted(expected, 'day')}, got "
        f"{counted(found.days, 'day')}. "
        f"Run: make deploy ENV={run.environment}"
    )


def check_rules(run: Run, session: Session) -> str:
    """Exactly the plan's rules are loaded, and none has an evaluation error."""
    found = readback.loaded_rules(session, run.deployment.settings)
    archived = is_archived(run.deployment.settings, session.name)
    shipped = {
        rule.name
        for rule in load_rules_for(
            host_target(run.deployment.settings, session.name, archived=archived)
        )
    }
    loaded = {rule.name for rule in found}
    if loaded != shipped or len(found) != len(shipped):
        raise DeployError(
            f"expected the {len(shipped)} shipped ones, got {len(found)}; not loaded: "
            f"{', '.join(sorted(shipped - loaded)) or 'none'}; not shipped: "
            f"{', '.join(sorted(loaded - shipped)) or 'none'}. "
            f"Run: make deploy ENV={run.environment}"
        )
    if failing := [f"{rule.name} ({rule.error})" for rule in found if rule.error]:
        name = kind_of(run.deployment.settings).evaluator
        raise DeployError(
            f"evaluation errors of {', '.join(failing)}. "
            f"Run on {session.name}: journalctl -u logstack-{name}"
        )
    return f"exactly the {len(shipped)} shipped rules are loaded"


def check_archive(run: Run, session: Session) -> str:
    """The archiver's own checks: engine, store, lock. Waits while its first run goes on."""
    (component,) = (
        c for c in run.deployment.plans[session.name].components if c.name == "archiver"
    )
    argv = [PYTHON, "-I", f"{link_of(component)}/lib", "doctor"]
    deadline = time.monotonic() + ARCHIVE_SECONDS
    while True:
        answer = session.ask("check", user=component.user, argv=argv, most=20_000)
        if answer["ok"] or time.monotonic() > deadline:
            break
        time.sleep(1)
    try:
        findings = json.loads(answer["text"].splitlines()[-1])
        bad = [f"{item['check']}: {item['text']}" for item in findings if not item["ok"]]
    except (ValueError, IndexError, TypeError):
        raise DeployError(f"cannot read the archiver's checks: {answer['text']}") from None
    if bad:
        raise DeployError("; ".join(bad))
    return f"checks passed: {', '.join(item['check'] for item in findings)}"


def check_certificate(run: Run, session: Session) -> str:
    """The gateway's certificate is valid for its address and does not expire soon."""
    name = run.deployment.settings.hosts[session.name].peer_address
    port = run.deployment.settings.ports.effective("gateway")
    answer = session.ask("certificate", port=port, name=name)
    if not answer["ok"]:
        raise DeployError(f"cannot read the certificate on port {port}: {answer['text']}")
    found = x509.load_pem_x509_certificate(answer["text"].encode())
    left = (found.not_valid_after_utc - datetime.now(UTC)).days
    if left < CERTIFICATE_DAYS:
        raise DeployError(
            f"expected {CERTIFICATE_DAYS} or more valid days, got {left}. "
            f"Run: {certificate_command(run.deployment.settings, session.name)}"
        )
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = {str(item.value) for item in names}
    if name not in known and run.deployment.settings.gateway.name not in known:
        raise DeployError(f"expected the name {name}, got {', '.join(known)}")
    return f"the certificate is valid for {left} more days"


CHECKS = (
    ("app_host", check_canary),
    ("log_server", check_retention),
    ("log_server", check_certificate),
    ("alerting", check_rules),
    ("archive", check_archive),
)
"""The checks of each role, in order."""
WAITING = (check_canary, check_archive)
"""Those that wait for what does not come."""
