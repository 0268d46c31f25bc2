"""Undo the changes of the last run; running it again redoes them."""

from __future__ import annotations

from pyinfra import host

from provisioning.operations.commands import AgentCommand, Commands, Fail, step
from provisioning.operations.host_files import hooks_of
from provisioning.run import Run


@step
def roll_back(run: Run) -> Commands:
    """Restore the components and files that the last run changed on this host."""
    last = run.last_runs().get(host.name, {})
    # Those that the settings have no more, too: without an address, the service's state counts.
    health = {component.name: component.health for component in run.plan(host).components}
    names, files = last.get("components", []), last.get("files", [])
    run.report.entered.add(host.name)
    if not run.state.is_executing:
        run.report.change(host.name, [f"roll back {subject}" for subject in (*names, *files)])
    errors: list[str] = []
    for name in names:
        yield AgentCommand(
            "roll_back", name, errors=errors, name=name, url=health.get(name, ""),
            timeout=run.deployment.timeout, run=run.id, keep=True,
        )  # fmt: skip
    if files:
        hooks = hooks_of(files)
        yield AgentCommand("restore_files", "host files", errors=errors, run=run.id, hooks=hooks)
    for name in last.get("removed", []):
        run.report.note(host.name, f"{name} was removed by the last deploy and is not restored")
    if errors:
        yield Fail(*errors)
