"""Undo the changes of the last run; running it again redoes them."""

from __future__ import annotations

from typing import Any

from pyinfra import host

from provisioning.facts.host import LastRun
from provisioning.operations.commands import AgentCommand, Commands, Fail, step
from provisioning.operations.host_files import hooks_of
from provisioning.run import Run


def last_runs(run: Run) -> dict[str, dict[str, Any]]:
    """What each host's last run changed, of the hosts whose last run is the newest of all."""
    with run.mutex:
        if run.last_runs is None:
            found = {name: session.fact(LastRun) for name, session in run.sessions.items()}
            newest = max((item["run"] for item in found.values()), default="")
            run.last_runs = {
                name: item for name, item in found.items() if newest and item["run"] == newest
            }
        return run.last_runs


@step
def roll_back(run: Run) -> Commands:
    """Restore the components and files that the last run changed on this host."""
    last = last_runs(run).get(host.name, {})
    known = {component.name: component for component in run.plan(host).components}
    names = [name for name in last.get("components", ()) if name in known]
    files = last.get("files", [])
    run.report.entered.add(host.name)
    if not run.state.is_executing:
        run.report.change(host.name, [f"roll back {subject}" for subject in (*names, *files)])
    errors: list[str] = []
    for name in names:
        yield AgentCommand(
            "roll_back", name, errors=errors, name=name, url=known[name].health,
            timeout=run.deployment.timeout, run=run.id, keep=True,
        )  # fmt: skip
    if files:
        hooks = hooks_of(files)
        yield AgentCommand("restore_files", "host files", errors=errors, run=run.id, hooks=hooks)
    if errors:
        yield Fail(*errors)
