"""Diagnose one host: preflight, services, drift from its plan."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from provisioning import changes, preflight
from provisioning.facts.host import HostFacts, HostState
from provisioning.report import HostFinding
from provisioning.run import Run
from provisioning.session import Session
from stack.archive.checks import Finding
from stack.checks.doctor import health
from stack.hosts.files import PYTHON
from stack.hosts.plan import HostComponent
from stack.monitor.model import from_json
from stack.settings.targets import CONFIG_DIR

JOURNAL_LINES = 5


def examine(run: Run, session: Session) -> Iterator[HostFinding]:
    """Run every check on a host."""
    began = time.monotonic()
    plan, binaries = run.deployment.plans[session.name], run.deployment.binaries[session.name]

    def finding(ok: bool, text: str) -> HostFinding:
        return HostFinding(session.name, ok, text, time.monotonic() - began)

    failed = preflight.failed_checks(
        session.fact(HostFacts), plan, run.deployment.settings, time.time()
    )
    for text in failed:
        yield finding(False, text)
    if not failed:
        yield finding(True, "preflight checks passed")
    facts = session.fact(HostState, **changes.request_for(plan, binaries))
    for component in plan.components:
        service = facts["services"][component.name]
        if component.name not in facts["installed"]:
            yield finding(False, f"{component.name} is not deployed. {_deploy(run)}")
        elif not service["active"]:
            lines = session.ask("journal", name=component.name, lines=JOURNAL_LINES)["text"]
            text = "\n".join(f"    {line}" for line in lines.splitlines())
            yield finding(False, f"{component.name} is {service['state']}. {_deploy(run)}\n{text}")
        else:
            answer = session.ask("probe", name=component.name, url=component.health, timeout=2)
            text = "is healthy" if answer["ok"] else f"is running but not healthy: {answer['text']}"
            yield finding(answer["ok"], f"{component.name} {text}")
    for item in _watched(session, plan.components):
        lines = [f"{item.check}: {item.text}", item.evidence]
        lines += [f"Run on {session.name}: {item.command}"] if item.command else []
        yield finding(item.ok, "\n    ".join(filter(None, lines)))
    differing = changes.changes(plan, binaries, facts)
    if differing:
        first = ", ".join(str(change) for change in differing[:3])
        yield finding(
            False, f"{len(differing)} differences from its plan ({first}, …). {_deploy(run)}"
        )
    else:
        yield finding(True, "no drift from the plan")


def _watched(session: Session, components: Sequence[HostComponent]) -> Iterator[Finding]:
    """What the host's monitor sees, looked at once."""
    monitor = next((c for c in components if c.name == "monitor"), None)
    if monitor is None:
        return
    folder = str(CONFIG_DIR / monitor.name)
    argv = [PYTHON, "-I", f"{changes.target_of(monitor)}/lib", "look", folder]
    answer = session.ask("check", user=monitor.user, argv=argv)
    try:
        yield from health(from_json(answer["text"].strip().rpartition("\n")[2]))
    except ValueError as error:
        yield Finding("monitor", False, f"the monitor does not look: {error}")


def _deploy(run: Run) -> str:
    return f"Run: make deploy ENV={run.environment}"
