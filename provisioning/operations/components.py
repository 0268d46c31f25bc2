"""Components of a host: installed, checked, replaced as one transaction, removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from pyinfra import host
from pyinfra.api.command import StringCommand
from pyinfra.operations import files, server

from provisioning import changes
from provisioning.operations.commands import AgentCommand, Commands, Upload, step
from provisioning.operations.diff import show_differences
from provisioning.run import Run
from stack.hosts.plan import HostComponent

UPLOADS = f"{changes.OPT}/.upload"
SCRATCH = "/var/tmp/logstack"  # noqa: S108 -- a /tmp in memory would be too small
KEPT_VERSIONS = 3  # of each artifact on a host


def state_now(run: Run) -> dict[str, Any]:
    """The state of this host, limited to what its plan covers."""
    plan, binaries = run.plan(host), run.deployment.binaries[host.name]
    return run.state_of(host, changes.request_for(plan, binaries))


@step
def install(run: Run) -> Commands:
    """Users, folders and programs; then every changed configuration is checked by its program.

    Nothing that is in use changes.
    """
    plan, binaries, state = run.plan(host), run.deployment.binaries[host.name], state_now(run)
    if run.state.is_executing:
        run.report.entered.add(host.name)
    found = changes.setup_changes(plan, binaries, state)
    run.report.change(host.name, [] if run.state.is_executing else found)
    for component in plan.components:
        yield from _user_and_folders(component, state)
        for item in binaries[component.name]:
            if state["binaries"].get(item.path) != item.sha256:
                yield from _program(run, component.name, item)
    for component in plan.components:
        if changes.replacements(component, state):
            yield _stage(component, binaries[component.name])
    run.report.change(host.name, found)


def _user_and_folders(component: HostComponent, state: dict[str, Any]) -> Commands:
    user = component.user
    if user not in state["users"]:
        yield from server.user._inner(  # noqa: S604 -- the login shell of the user
            user=user, home="/nonexistent", shell="/usr/sbin/nologin",
            system=True, create_home=False,
        )  # fmt: skip
    for path, mode in component.directories:
        before = state["directories"].get(path)
        if before and before["owner"] != user:  # the archiver's changes with the engine
            yield StringCommand("chown", "-R", f"{user}:{user}", path)
        if before != {"mode": mode, "owner": user}:
            yield from files.directory._inner(path=path, user=user, group=user, mode=mode[1:])


def _program(run: Run, component: str, item: changes.Binary) -> Commands:
    upload = f"{UPLOADS}/{item.sha256}"
    yield from files.directory._inner(path=UPLOADS)
    yield Upload(str(run.deployment.sources[item.path]), upload, f"{SCRATCH}-{item.sha256}")
    yield AgentCommand(
        "install_binary", item.path, upload=upload, path=item.path, sha256=item.sha256
    )


def _stage(component: HostComponent, binaries: Sequence[changes.Binary]) -> AgentCommand:
    base, versioned = f"{changes.config_dir(component)}/", changes.target_of(component)
    program = PurePath(binaries[0].path).name if binaries else ""
    return AgentCommand(
        "stage",
        component.name,
        failure="configuration check failed; the previous configuration is still active:\n",
        name=component.name,
        user=component.user,
        files=[{**asdict(f), "path": f.path.removeprefix(base)} for f in component.files],
        check=component.check,
        binary=f"{versioned}/{program}",
        folder=versioned,
    )


@step
def remove_others(run: Run) -> Commands:
    """Services that are not in the plan any more."""
    found = changes.removals(run.plan(host), state_now(run))
    run.report.change(host.name, [] if run.state.is_executing else found)
    for change in found:
        yield AgentCommand("remove", change.component, name=change.component, run=run.id)
        run.report.change(host.name, [change])


@step
def component(run: Run, service: str) -> Commands:
    """Replace, restart or start one component, and wait until it is healthy; or roll it back."""
    state = state_now(run)
    (this,) = (c for c in run.plan(host).components if c.name == service)
    found = changes.service_changes(this, state)
    if not found:
        return
    run.report.change(host.name, [] if run.state.is_executing else found)
    show_differences(run, (*this.files, this.unit), found, state)
    known: dict[str, Any] = {
        "name": service, "url": this.health, "timeout": run.deployment.timeout, "run": run.id,
    }  # fmt: skip
    if changes.replacements(this, state):
        known |= {
            "unit": asdict(this.unit),
            "link": changes.link_of(this),
            "target": changes.target_of(this),
        }
        yield AgentCommand("replace", service, **known)
    else:
        yield AgentCommand("start", service, restarted=found[-1].action == "restart", **known)
    run.report.change(host.name, found)


@step
def prune(run: Run) -> Commands:
    """Old versions of programs, except those in use or needed for a rollback."""
    used = sorted({c.artifact for c in run.plan(host).components if c.artifact})
    if run.state.is_executing and run.report.changes.get(host.name):
        run.sessions[host.name].ask("prune", artifacts=used, keep=KEPT_VERSIONS)
    yield from ()
