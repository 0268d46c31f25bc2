"""Checks as operations: they change nothing, and each leaves a finding in the report."""

from __future__ import annotations

import time
from collections.abc import Callable

from pyinfra import host

from provisioning import DeployError
from provisioning.checks import doctor
from provisioning.checks.verify import CHECKS, WAITING
from provisioning.operations.commands import Commands, Fail, step
from provisioning.report import HostFinding
from provisioning.run import Run
from provisioning.session import Session
from stack.archive.checks import Finding
from stack.checks.doctor import with_command
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
    began, name = time.monotonic(), function.__name__.removeprefix("check_")
    try:
        found = Finding(name, True, function(run, run.sessions[host.name]))
    except DeployError as error:
        found = with_command(Finding(name, False, str(error), "it was read back on the host"))
    return HostFinding(host.name, found, time.monotonic() - began)


@step
def examine(run: Run) -> Commands:
    """Run every check of checks/doctor.py."""
    if run.state.is_executing:
        began = time.monotonic()
        try:
            for found in doctor.examine(run, run.sessions[host.name]):
                item = HostFinding(host.name, found, time.monotonic() - began)
                run.report.findings.append(item)
        except DeployError as error:
            found = Finding("host", False, f"cannot examine it: {error}")
            run.report.findings.append(HostFinding(host.name, found, time.monotonic() - began))
        host.log(f"examined in {time.monotonic() - began:.0f} s")
    yield from ()


@step
def records(run: Run) -> Commands:
    """Run the checks of checks/verify.py; those that wait only where none of any host failed."""
    found = run.report.findings
    if run.state.is_executing:
        failed = any(not item.finding.ok for item in found)
        roles = roles_of(run.deployment.settings, host.name)
        for role, function in CHECKS:
            if role in roles and not (failed and function in WAITING):
                found.append(_finding(run, function))
        if failed and all(item.host != "records" for item in found):
            names = " and ".join(item.__name__.removeprefix("check_") for item in WAITING)
            text = f"{names} were not checked, because other checks failed"
            command = f"make verify ENV={run.environment}"
            found.append(HostFinding("records", Finding("records", False, text, "", command)))
    yield from ()


@step
def conclude(run: Run) -> Commands:
    """Fail on a host of which a check failed: not earlier, so that all checks are run."""
    failed = any(item.host == host.name and not item.finding.ok for item in run.report.findings)
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
