"""The differences between a host and its plan. Pure: facts in, changes out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from stack.hosts import firewall
from stack.hosts import log_files as app_logging
from stack.hosts.files import UNITS, HostFile
from stack.hosts.plan import HostComponent, HostPlan

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
        "directories": [
            *(path for component in components for path, _ in component.directories),
            *(path for file in plan.files for path in _folders(file)),
        ],
        "users": sorted({component.user for component in components}),
        "units": [PurePath(path).name for path in ENABLED],
        "tables": [firewall.TABLE],
    }


def _folders(file: HostFile) -> list[str]:
    return list(app_logging.folders_of(file.text)) if file.path == app_logging.FOLDERS else []


def link_of(component: HostComponent) -> str:
    """The link to the version in use; empty if the component has no artifact."""
    return f"{OPT}/{component.artifact}/current" if component.artifact else ""


def target_of(component: HostComponent) -> str:
    return f"{OPT}/{component.artifact}/{component.version}" if component.artifact else ""


def config_dir(component: HostComponent) -> str:
    return f"{ETC}/{component.name}"


def changes(plan: HostPlan, binaries: Binaries, facts: Facts) -> list[Change]:
    """Every change that a run would make on this host, in order."""
    return [
        *setup_changes(plan, binaries, facts),
        *removals(plan, facts),
        *file_changes(plan, facts),
        *(change for c in plan.components for change in service_changes(c, facts)),
    ]


def setup_changes(plan: HostPlan, binaries: Binaries, facts: Facts) -> list[Change]:
    """Users, folders and programs that are missing or differ."""
    found: list[Change] = []
    for component in plan.components:
        name = component.name
        user = f"user {component.user}"
        if component.user not in facts["users"] and all(item.subject != user for item in found):
            found.append(Change(name, "create", user))
        for path, mode in component.directories:
            expected = {"mode": mode, "owner": component.user}
            if facts["directories"].get(path) != expected:
                action = "change" if path in facts["directories"] else "create"
                found.append(Change(name, action, path))
        found += [
            Change(name, "install", item.path)
            for item in binaries.get(name, ())
            if facts["binaries"].get(item.path) != item.sha256
        ]
    return found


def file_changes(plan: HostPlan, facts: Facts) -> list[Change]:
    """Host files: those of an earlier plan go, then those of this one are written."""
    found = [Change("", "remove", f"file {path}") for path in obsolete_files(plan, facts)]
    for file in changed_files(plan, facts):
        if not is_current(file, facts):
            found.append(Change("", _action_for(file, facts), f"file {file.path}"))
        elif file.path == app_logging.FOLDERS:
            found += [Change("", "change", path) for path in differing_folders(file, facts)]
        else:
            found.append(Change("", "start", PurePath(file.path).name))
    return found


def removals(plan: HostPlan, facts: Facts) -> list[Change]:
    """The services on this host that are not in its plan."""
    planned = {component.name for component in plan.components}
    return [
        Change(name, "remove", f"service logstack-{name}, its unit and its configuration")
        for name in facts["installed"]
        if name not in planned and f"{UNITS}/logstack-{name}.service" not in OWNED
    ]


def service_changes(component: HostComponent, facts: Facts) -> list[Change]:
    """What differs in a component in use. A restart comes last, and only if something changed."""
    subject = f"service logstack-{component.name}"
    replaced = replacements(component, facts)
    service = facts["services"].get(component.name, {"active": False, "enabled": False})
    if replaced:
        verb = "restart" if service["active"] else "start"
        return [*replaced, Change(component.name, verb, subject)]
    if component.name in facts["pending"]:
        return [Change(component.name, "restart", subject)]
    if not (service["active"] and service["enabled"]):
        return [Change(component.name, "start", subject)]
    return []


def replacements(component: HostComponent, facts: Facts) -> list[Change]:
    """The files and the version that differ: a swap replaces them, and they need a restart."""
    name = component.name
    files = (*component.files, component.unit)
    found = [
        Change(name, _action_for(file, facts), f"file {file.path}")
        for file in files
        if not is_current(file, facts)
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
        if applies_to(file, facts) and not (is_current(file, facts) and _is_in_force(file, facts))
    ]


def _is_in_force(file: HostFile, facts: Facts) -> bool:
    """Whether a unit is enabled and active, and folders are as their file says.

    Rules can be flushed while their unit stays active.
    """
    if file.path == app_logging.FOLDERS:
        return not differing_folders(file, facts)
    if file.path not in ENABLED:
        return True
    state = facts["units"].get(PurePath(file.path).name, {"active": False, "enabled": False})
    loaded = file.path != firewall.UNIT or firewall.TABLE in facts["tables"]
    return bool(state["active"] and state["enabled"] and loaded)


def differing_folders(file: HostFile, facts: Facts) -> list[str]:
    """The log folders whose mode or owner is not what tmpfiles.d creates."""
    expected = app_logging.folders_of(file.text)
    found = facts["directories"]
    return [path for path, state in expected.items() if found.get(path) != state]


def _action_for(file: HostFile, facts: Facts) -> str:
    return "change" if file.path in facts["files"] else "create"


def is_current(file: HostFile, facts: Facts) -> bool:
    """Whether a host has a file as planned.

    Compares only what the host reports: no mode or owner for a shared file.
    """
    expected = {
        "sha256": hashlib.sha256(file.text.encode()).hexdigest(),
        "mode": file.mode,
        "owner": file.owner,
    }
    found = facts["files"].get(file.path)
    return bool(found) and all(expected[name] == value for name, value in found.items())
