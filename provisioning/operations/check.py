"""Checks as operations: they change nothing, and each leaves a finding in the report."""

from __future__ import annotations

import time
from collections.abc import Callable

from pyinfra import host

from provisioning import DeployError
from provisioning.checks import doctor
from provisioning.checks.verify import CHECKS
from provisioning.operations.commands import Commands, Fail, step
from provisioning.report import HostFinding
from provisioning.run import Run
from provisioning.session import Session
from stack.cli.console import out
from stack.hosts import HostsError, secrets
from stack.hosts.roles import roles_of
from stack.settings import Settings

Check = Callable[[Run, Session], str]


@step
def check(run: Run, function: Check) -> Commands:
    """Run one check of checks/verify.py."""
    if run.state.is_executing:
        run.report.findings.append(_finding(run, function))
    yield from ()


def _finding(run: Run, function: Check) -> HostFinding:
    began = time.monotonic()
    try:
        text, ok = function(run, run.sessions[host.name]), True
    except DeployError as error:
        text, ok = str(error), False
    return HostFinding(host.name, ok, text, time.monotonic() - began)


@step
def examine(run: Run) -> Commands:
    """Run every check of checks/doctor.py."""
    if run.state.is_executing:
        try:
            run.report.findings += list(doctor.examine(run, run.sessions[host.name]))
        except DeployError as error:
            run.report.findings.append(HostFinding(host.name, False, str(error), 0.0))
    yield from ()


@step
def records(run: Run) -> Commands:
    """Run the checks of checks/verify.py, where no check of any host has failed."""
    found = run.report.findings
    if run.state.is_executing:
        failed = any(not item.ok for item in found)
        roles = roles_of(run.deployment.settings, host.name)
        for role, function in CHECKS:
            if role in roles and not failed:
                found.append(_finding(run, function))
        if failed and all(item.host != "records" for item in found):
            text = f"skipped: fix the failed checks first. Run: make verify ENV={run.environment}"
            found.append(HostFinding("records", False, text, 0.0))
    yield from ()


@step
def conclude(run: Run) -> Commands:
    """Fail on a host of which a check failed: not earlier, so that all checks are run."""
    failed = any(item.host == host.name and not item.ok for item in run.report.findings)
    if failed and run.state.is_executing:
        yield Fail()


@step
def unlock(run: Run) -> Commands:
    """Release the lock of a run that was killed, and remove what it left in /run."""
    if run.state.is_executing:
        session = run.sessions[host.name]
        who = session.ask("unlock", run="", own=run.own)["who"]
        run.report.note(host.name, f"released the lock of {who}" if who else "not locked")
    yield from ()


@step
def make_secrets(run: Run, settings: Settings) -> Commands:
    """Generate missing secrets; prints their names."""
    if run.state.is_executing:
        path = secrets.secrets_path(settings.stack.environment)
        try:
            for name in secrets.init(path, settings):
                out.print(f"generated {name} in {path.name}")
        except (HostsError, OSError) as error:
            raise DeployError(str(error)) from None
    yield from ()
