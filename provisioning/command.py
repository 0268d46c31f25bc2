"""The commands as people see them: what is printed, and the exit status."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time

import gevent

from provisioning import DeployError, deploy, doctor, refuse_as_deploy, verify
from provisioning.deploy import Outcome, Work
from provisioning.verify import Finding
from stack import settings
from stack.alerting import AlertError
from stack.artifacts import ArtifactError
from stack.cli.console import out, progress, say
from stack.hosts import HostsError, secrets
from stack.settings import SettingsError

refuse_as_deploy(__name__)

KNOWN_ERRORS = (AlertError, ArtifactError, DeployError, HostsError, SettingsError, OSError)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    """Run the command that the first argument names; exit status 1 when anything is not well."""
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
        say(str(error), "red")
        ok = False
    except KeyboardInterrupt:
        say("stopped; the same command again continues")
        sys.exit(130)
    sys.exit(0 if ok else 1)


def _stop(main_greenlet: gevent.Greenlet) -> None:
    """End in order, once: what is under way is left, and the hosts' locks are given back."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    gevent.kill(main_greenlet, KeyboardInterrupt)


def _prepare() -> Work:
    environment = os.environ.get("LOGSTACK_ENV", "")
    if not environment:
        raise DeployError("LOGSTACK_ENV: expected an environment such as staging, got nothing")
    values = settings.load_for_hosts(environment)
    known = secrets.read_all(secrets.secrets_path(environment), values)
    with progress() as display:
        return deploy.prepare(values, known, display.update)


def _plan(work: Work) -> bool:
    outcome = deploy.plan(work)
    _print_changes(outcome)
    _print_troubles(outcome)
    return outcome.ok


def _deploy(work: Work) -> bool:
    began = time.monotonic()
    with progress() as display:
        outcome = deploy.deploy(work, display.update)
    _print_changes(outcome)
    _print_troubles(outcome)
    total = sum(map(len, outcome.changes.values()))
    seconds = time.monotonic() - began
    out.print(f"{_counted(total)} on {len(outcome.changes)} hosts in {seconds:.0f} s")
    return outcome.ok


def _rollback(work: Work) -> bool:
    with progress() as display:
        outcome, said = deploy.rollback(work, display.update)
    for name, sentences in said.items():
        for sentence in sentences:
            out.print(f"{name}: {sentence}", highlight=False)
    if not any(said.values()) and outcome.ok:
        out.print("There is nothing to go back to: no deploy has changed anything here.")
    _print_troubles(outcome)
    return outcome.ok


def _verify(work: Work) -> bool:
    findings, silent = verify.verify(work)
    _print_findings(findings)
    _print_troubles(Outcome(silent=silent))
    return bool(findings) and all(item.ok for item in findings) and not silent


def _doctor(work: Work) -> bool:
    findings = doctor.examine(work)
    _print_findings(findings)
    return all(item.ok for item in findings)


def _unlock(work: Work) -> bool:
    outcome, holders = deploy.unlock(work)
    for name, who in holders.items():
        text = f"took the lock of {who}" if who else "there was no lock"
        out.print(f"{name}: {text}", highlight=False)
    _print_troubles(outcome)
    return outcome.ok


def _print_findings(findings: list[Finding]) -> None:
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


def _print_troubles(outcome: Outcome) -> None:
    for name, problems in outcome.problems.items():
        say(f"{name}: cannot be deployed to; nothing was changed on any host:", "red")
        for problem in problems:
            say(f"  {problem}", "red")
    for name, text in outcome.failures.items():
        say(text if text.startswith(name) else f"{name}: {text}", "red")
    for name, text in outcome.silent.items():
        say(f"{name}: wanted an answer by SSH, found: {text}. Nothing was changed there", "red")
    if outcome.skipped:
        say(f"Not reached because of that: {', '.join(outcome.skipped)}", "red")


def _counted(count: int) -> str:
    return "1 change" if count == 1 else f"{count} changes"
