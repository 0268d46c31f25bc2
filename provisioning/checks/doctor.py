"""Diagnose one host: preflight, what its monitor sees, drift from its plan."""

from __future__ import annotations

from collections.abc import Iterator

from provisioning import changes
from provisioning.facts.host import HostState
from provisioning.run import Run
from provisioning.session import Session
from stack.archive.checks import Finding
from stack.checks.doctor import health, with_command
from stack.common.counted import counted
from stack.hosts.files import PYTHON
from stack.hosts.plan import HostPlan
from stack.monitor.model import from_json
from stack.settings.targets import CONFIG_DIR

JOURNAL_LINES = 5
NAMED = 3  # differences that a finding names


def examine(run: Run, session: Session) -> Iterator[Finding]:
    """Run every check on a host."""
    plan, binaries = run.deployment.plans[session.name], run.deployment.binaries[session.name]
    failed = run.failed_checks(session.name)
    for text in failed:
        yield with_command(Finding("preflight", False, text))
    if not failed:
        yield Finding("preflight", True, "checks passed")
    facts = session.fact(HostState, **changes.request_for(plan, binaries))
    absent = [c.name for c in plan.components if c.name not in facts["installed"]]
    for name in absent:
        yield Finding("programs", False, f"{name} is not deployed", "it has no unit", _deploy(run))
    if "monitor" not in absent:
        yield from _watched(run, session, plan)
    yield _drift(run, changes.changes(plan, binaries, facts))


def _watched(run: Run, session: Session, plan: HostPlan) -> Iterator[Finding]:
    """What the host's monitor sees, looked at once; states of services where it sees nothing."""
    monitor = next(c for c in plan.components if c.name == "monitor")
    folder = str(CONFIG_DIR / monitor.name)
    argv = [PYTHON, "-I", f"{changes.link_of(monitor)}/lib", "look", folder]
    answer = session.ask("check", name=monitor.name, argv=argv)
    try:
        yield from health(from_json(answer["text"].strip().rpartition("\n")[2]))
    except ValueError as error:
        command = f"journalctl -u logstack-{monitor.name}"
        yield Finding("monitor", False, "the monitor does not look", str(error), command)
        yield from _stopped(run, session, plan)


def _stopped(run: Run, session: Session, plan: HostPlan) -> Iterator[Finding]:
    for component in plan.components:
        answer = session.ask("probe", name=component.name, url=component.health, timeout=2)
        if not answer["ok"]:
            lines = session.ask("journal", name=component.name, lines=JOURNAL_LINES)["text"]
            text = f"{component.name} is not healthy: {answer['text']}"
            yield Finding("programs", False, text, lines.strip(), _deploy(run))


def _drift(run: Run, differing: list[changes.Change]) -> Finding:
    if not differing:
        return Finding("plan", True, "no drift from the plan")
    first = ", ".join(map(str, differing[:NAMED])) + (", …" if differing[NAMED:] else "")
    text = f"{counted(len(differing), 'difference')} from its plan: {first}"
    return Finding("plan", False, text, "its files and services were compared", _deploy(run))


def _deploy(run: Run) -> str:
    return f"make deploy ENV={run.environment}"
