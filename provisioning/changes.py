"""The differences between a host and its plan. Pure: facts in, changes out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from provisioning import refuse_as_deploy
from stack.hosts import firewall
from stack.hosts import log_files as app_logging
from stack.hosts.files import UNITS, HostFile
from stack.hosts.plan import HostComponent, HostPlan

refuse_as_deploy(__name__)

Facts = Mapping[str, Any]
OPT = "/opt/logstack"
ETC = "/etc/logstack"
# Files that belong to programs which are not on every host.
NEEDS_PROGRAM = {
    "/etc/docker/": "docker",
    firewall.RULES: "nft",
    firewall.DROP_IN: "nft",
    firewall.UNIT: "nft",
    app_logging.ROTATION: "logrotate",
    app_logging.ROTATION_SERVICE: "logrotate",
    app_logging.ROTATION_TIMER: "logrotate",
}
OWNED = (*app_logging.PATHS, *firewall.PATHS)
"""Host files that only Logstack writes: one that is in no plan is removed."""
ENABLED = (firewall.UNIT, app_logging.ROTATION_TIMER)
"""Units among them that have to be enabled and active; they are not components."""


@dataclass(frozen=True)
class Change:
    """One change that a run would make. `component` is empty for host files."""

    component: str
    action: str  # create, change, remove, install, restart, start
    subject: str

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"


@dataclass(frozen=True)
class Binary:
    """A program of an artifact: its path on the host and its checksum."""

    path: str
    sha256: str


Binaries = Mapping[str, Sequence[Binary]]
"""The binaries of each component, by its name."""


def request_for(plan: HostPlan, binaries: Binaries) -> dict[str, Any]:
    """The request to a host for the state that is compared with its plan."""
    components = plan.components
    return {
        "components": [component.name for component in components],
        "files": [*OWNED, *(file.path for file in plan.files if file.path not in OWNED)],
        "binaries": [item.path for items in binaries.values() for item in items],
        "links": [link_of(component) for component in components if component.artifact],
        "directories": [path for component in components for path, _ in component.directories],
        "users": sorted({component.user for component in components}),
        "units": [PurePath(path).name for path in ENABLED],
        "tables": [firewall.TABLE],
    }


def link_of(component: HostComponent) -> str:
    """The link to the version in use; empty if the component has no artifact."""
    return f"{OPT}/{component.artifact}/current" if component.artifact else ""


def target_of(component: HostComponent) -> str:
    return f"{OPT}/{component.artifact}/{component.version}" if component.artifact else ""


def config_dir(component: HostComponent) -> str:
    return f"{ETC}/{component.name}"


def changes(plan: HostPlan, binaries: Binaries, facts: Facts) -> list[Change]:
    """Every change that a run would make on this host, in order."""
    found = [
        change
        for component in plan.components
        for change in component_changes(component, binaries.get(component.name, ()), facts)
    ]
    found += [
        Change("", "start", PurePath(file.path).name)
        if _is_current(file, facts)
        else Change("", _action_for(file, facts), f"file {file.path}")
        for file in changed_files(plan, facts)
    ]
    left = [Change("", "remove", f"file {path}") for path in obsolete_files(plan, facts)]
    return [*removals(plan, facts), *left, *found]


def removals(plan: HostPlan, facts: Facts) -> list[Change]:
    """The services on this host that are not in its plan."""
    planned = {component.name for component in plan.components}
    return [
        Change(name, "remove", f"service logstack-{name}, its unit and its configuration")
        for name in facts["installed"]
        if name not in planned and f"{UNITS}/logstack-{name}.service" not in OWNED
    ]


def component_changes(
    component: HostComponent, binaries: Sequence[Binary], facts: Facts
) -> list[Change]:
    """The changes of one component. A restart comes last, and only if something changed."""

    def change(action: str, subject: str) -> Change:
        return Change(component.name, action, subject)

    found = []
    if component.user not in facts["users"]:
        found.append(change("create", f"user {component.user}"))
    for path, mode in component.directories:
        planned = {"mode": mode, "owner": component.user}
        if facts["directories"].get(path) != planned:
            found.append(change("change" if path in facts["directories"] else "create", path))
    for item in binaries:
        if facts["binaries"].get(item.path) != item.sha256:
            found.append(change("install", item.path))
    replaced = replacements(component, facts)
    service = facts["services"].get(component.name, {"active": False, "enabled": False})
    if replaced:
        verb = "restart" if service["active"] else "start"
        found += [*replaced, change(verb, f"service logstack-{component.name}")]
    elif component.name in facts["pending"]:
        found.append(change("restart", f"service logstack-{component.name}"))
    elif not (service["active"] and service["enabled"]):
        found.append(change("start", f"service logstack-{component.name}"))
    return found


def replacements(component: HostComponent, facts: Facts) -> list[Change]:
    """The files and the version that differ: a swap replaces them, and they need a restart."""
    name = component.name
    files = (*component.files, component.unit)
    found = [
        Change(name, _action_for(file, facts), f"file {file.path}")
        for file in files
        if not _is_current(file, facts)
    ]
    planned = {file.path for file in files}
    found += [
        Change(name, "remove", f"file {path}")
        for path in sorted(facts["files"])
        if path.startswith(f"{config_dir(component)}/") and path not in planned
    ]
    link = link_of(component)
    if link and facts["links"].get(link) != target_of(component):
        was = facts["links"].get(link, "").rpartition("/")[2] or "none"
        text = f"version of {component.artifact}: {was} -> {component.version}"
        found.append(Change(name, "change", text))
    return found


def applies_to(file: HostFile, facts: Facts) -> bool:
    """Whether the program that reads a file is installed on the host."""
    needed = [program for start, program in NEEDS_PROGRAM.items() if file.path.startswith(start)]
    return all(program in facts["programs"] for program in needed)


def obsolete_files(plan: HostPlan, facts: Facts) -> list[str]:
    """Host files of an earlier plan that are not in this one."""
    planned = {file.path for file in plan.files}
    return [path for path in OWNED if path in facts["files"] and path not in planned]


def changed_files(plan: HostPlan, facts: Facts) -> list[HostFile]:
    """Host files to write, and units to start again because they are not in force."""
    return [
        file
        for file in plan.files
        if applies_to(file, facts)
        and not (_is_current(file, facts) and _is_in_force(file.path, facts))
    ]


def _is_in_force(path: str, facts: Facts) -> bool:
    """Whether a unit is enabled and active. Rules can be flushed while their unit stays active."""
    if path not in ENABLED:
        return True
    state = facts["units"].get(PurePath(path).name, {"active": False, "enabled": False})
    loaded = path != firewall.UNIT or firewall.TABLE in facts["tables"]
    return bool(state["active"] and state["enabled"] and loaded)


def _action_for(file: HostFile, facts: Facts) -> str:
    return "change" if file.path in facts["files"] else "create"


def _is_current(file: HostFile, facts: Facts) -> bool:
    """Compare only what the host reports: no mode or owner for a file shared with others."""
    planned = {
        "sha256": hashlib.sha256(file.text.encode()).hexdigest(),
        "mode": file.mode,
        "owner": file.owner,
    }
    found = facts["files"].get(file.path)
    return bool(found) and all(planned[name] == value for name, value in found.items())
