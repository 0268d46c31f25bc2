"""The commands of `logstack hosts`: their output and exit status."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time

import gevent

from provisioning import DeployError, deploy, doctor, refuse_as_deploy, verify
from provisioning.deploy import Deployment, Outcome
from provisioning.verify import HostFinding
from stack import settings
from stack.alerting import AlertError
from stack.artifacts import ArtifactError
from stack.cli.console import note, out, progress
from stack.hosts import HostsError, secrets
from stack.settings import SettingsError

refuse_as_deploy(__name__)

KNOWN_ERRORS = (AlertError, ArtifactError, DeployError, HostsError, SettingsError, OSError)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    """Run the command named by the first argument; exit status 1 if anything failed."""
    commands = {
        "plan": _plan,
        "deploy": _deploy,
        "rollback": _rollback,
        "verify": _verify,
        "doctor": _doctor,
        "unlock": _unlock,
    }
    parser = argparse.ArgumentParser(
        prog="python -m provisioning", epilog="LOGSTACK_ENV names the environment."
    )
    parser.add_argument("command", choices=list(commands))
    command = commands[parser.parse_args().command]
    for number in SIGNALS:
        gevent.signal_handler(number, _stop, gevent.getcurrent())
    try:
        ok = command(_prepare())
    except KNOWN_ERRORS as error:
        note(str(error), "red")
        ok = False
    except KeyboardInterrupt:
        note("stopped. To continue, run the same command again")
        sys.exit(130)
    sys.exit(0 if ok else 1)


def _stop(main_greenlet: gevent.Greenlet) -> None:
    """Shut down in order, once: interrupt the current steps and release the hosts' locks."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    gevent.kill(main_greenlet, KeyboardInterrupt)


def _prepare() -> Deployment:
    environment = os.environ.get("LOGSTACK_ENV", "")
    if not environment:
        raise DeployError("LOGSTACK_ENV: expected an environment such as staging, got nothing")
    values = settings.load_for_hosts(environment)
    known = secrets.read_all(secrets.secrets_path(environment), values)
    with progress() as display:
        return deploy.prepare(values, known, display.update)


def _plan(deployment: Deployment) -> bool:
    outcome = deploy.plan(deployment)
    _print_changes(outcome)
    _print_failures(outcome)
    return outcome.ok


def _deploy(deployment: Deployment) -> bool:
    began = time.monotonic()
    with progress() as display:
        outcome = deploy.deploy(deployment, display.update)
    _print_changes(outcome)
    _print_failures(outcome)
    total = sum(map(len, outcome.changes.values()))
    seconds = time.monotonic() - began
    out.print(f"{_counted(total)} on {len(outcome.changes)} hosts in {seconds:.0f} s")
    return outcome.ok


def _rollback(deployment: Deployment) -> bool:
    with progress() as display:
        outcome, results = deploy.rollback(deployment, display.update)
    for name, sentences in results.items():
        for sentence in sentences:
            out.print(f"{name}: {sentence}", highlight=False)
    if not any(results.values()) and outcome.ok:
        out.print("Nothing to roll back: no deploy has changed these hosts.")
    _print_failures(outcome)
    return outcome.ok


def _verify(deployment: Deployment) -> bool:
    findings, unreachable = verify.verify(deployment)
    _print_findings(findings)
    _print_failures(Outcome(unreachable=unreachable))
    return bool(findings) and all(item.ok for item in findings) and not unreachable


def _doctor(deployment: Deployment) -> bool:
    findings = doctor.examine(deployment)
    _print_findings(findings)
    return all(item.ok for item in findings)


def _unlock(deployment: Deployment) -> bool:
    outcome, holders = deploy.unlock(deployment)
    for name, who in holders.items():
        text = f"released the lock of {who}" if who else "not locked"
        out.print(f"{name}: {text}", highlight=False)
    _print_failures(outcome)
    return outcome.ok


def _print_findings(findings: list[HostFinding]) -> None:
    for finding in findings:
        mark = "ok    " if finding.ok else "FAILED"
        seconds = f" ({finding.seconds:.1f} s)" if finding.seconds else ""
        out.print(f"{mark} {finding.host}: {finding.text}{seconds}", highlight=False, markup=False)


def _print_changes(outcome: Outcome) -> None:
    for name, found in outcome.changes.items():
        out.print(
            f"{name}: {_counted(len(found))}" if found else f"{name}: 0 changes", highlight=False
        )
        for change in found:
            out.print(f"  {change}", highlight=False, markup=False)


def _print_failures(outcome: Outcome) -> None:
    for name, checks in outcome.failed_checks.items():
        note(f"{name}: preflight failed; nothing was changed on any host:", "red")
        for check in checks:
            note(f"  {check}", "red")
    for name, text in outcome.failures.items():
        note(text if text.startswith(name) else f"{name}: {text}", "red")
    for name, text in outcome.unreachable.items():
        note(f"{name}: cannot connect by SSH: {text}. Nothing was changed on this host", "red")
    if outcome.skipped:
        note(f"Skipped after the failure: {', '.join(outcome.skipped)}", "red")


def _counted(count: int) -> str:
    return "1 change" if count == 1 else f"{count} changes"
