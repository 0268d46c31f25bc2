"""The fleet of an inventory: its settings, and each host's plan and programs."""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory

from provisioning import DeployError, changes
from provisioning.changes import Binary
from stack.alerting import AlertError
from stack.artifacts import ArtifactError, OnProgress
from stack.artifacts import host_programs as programs
from stack.hosts import HostsError, secrets
from stack.hosts.plan import HostComponent, HostPlan, plan_for
from stack.hosts.roles import roles_of
from stack.settings import (
    ENV_PREFIX,
    ENV_VARIABLE,
    INVENTORY,
    Layer,
    Settings,
    SettingsError,
    is_setting,
    layer_of,
    load_for_hosts,
)
from stack.settings.hosts import Role
from stack.settings.units import parse_duration

GROUPS: Mapping[Role, str] = {
    "log_server": "log_servers",
    "app_host": "app_hosts",
    "dashboards": "dashboards",
    "alerting": "alerting",
    "archive": "archive",
}
"""pyinfra's group of each role."""
_KNOWN_GROUPS = ", ".join(GROUPS.values())
ENVIRONMENT = "logstack_environment"
"""Data of a host: the environment that it belongs to."""
NAMED = "logstack_host"
"""Data of a host that the settings describe: its name there."""

Members = list[tuple[str, dict[str, object]]]


@dataclass(frozen=True)
class Deployment:
    """Everything that the hosts need from the control machine."""

    settings: Settings
    plans: Mapping[str, HostPlan]
    binaries: Mapping[str, changes.Binaries]  # by host, then by component
    sources: Mapping[str, Path]

    @property
    def timeout(self) -> float:
        """Seconds that a service has to become healthy."""
        return parse_duration(self.settings.timing.start_timeout).total_seconds()

    @property
    def serial(self) -> tuple[str, ...]:
        """The hosts that are deployed one at a time, before all others."""
        return tuple(
            name
            for name, plan in self.plans.items()
            if any(component.serial for component in plan.components)
        )


def groups_of(settings: Settings) -> dict[str, Members]:
    """The hosts of the settings as pyinfra's groups, each with its data. Raises DeployError."""
    return {
        group: [
            (name, _data_of(settings, name))
            for name in settings.hosts
            if role in roles_of(settings, name)
        ]
        for role, group in GROUPS.items()
    }


def _data_of(settings: Settings, name: str) -> dict[str, object]:
    host = settings.hosts[name]
    data: dict[str, object] = {
        "ssh_hostname": host.address,
        "ssh_port": host.ssh_port,
        ENVIRONMENT: settings.stack.environment,
        NAMED: name,
    }
    if host.ssh_user:
        data["ssh_user"] = host.ssh_user
    if host.ssh_key:
        key = Path(host.ssh_key).expanduser()
        if not os.access(key, os.R_OK):
            raise DeployError(f"hosts.{name}.ssh_key: expected a readable file, got {host.ssh_key}")
        data["ssh_key"] = str(key)
    return data


def settings_of(inventory: Inventory) -> Settings:
    """The settings of the environment, with the inventory's hosts. Raises DeployError.

    Data whose names start with LOGSTACK_ are settings: text as in the environment of a process, any
    other value as in TOML. Hosts may have them from different groups, but not different ones.
    """
    _check_groups(inventory)
    check_patterns(sys.argv, [host.name for host in inventory], inventory.groups)
    hosts = _members(inventory)
    if not hosts:
        raise DeployError(f"inventory: expected hosts in the groups {_KNOWN_GROUPS}, got none")
    data = _merged_data(hosts)
    environment = str(data.get(ENVIRONMENT) or os.environ.get(ENV_VARIABLE, ""))
    if not environment:
        raise DeployError(
            f"{ENVIRONMENT}: expected an environment such as staging in the data of "
            f"{hosts[0].name}, got nothing"
        )
    try:
        found = layer_of(data, INVENTORY)
        table = {"hosts": _table_of(hosts)} if _is_own(inventory) else {}
        last = Layer(INVENTORY, {**found.values, **table})
        return load_for_hosts(environment, last=last)
    except SettingsError as error:
        raise DeployError(str(error)) from None


def _members(inventory: Inventory) -> list[Host]:
    return [host for host in inventory if roles_in(host)]


def _is_own(inventory: Inventory) -> bool:
    """Whether an inventory of the user's describes the hosts, not the settings."""
    return not all(host.data.get(NAMED) for host in _members(inventory))


def remedy_of(inventory: Inventory) -> str:
    """The command that generates missing secrets, where `logstack secrets init` cannot."""
    script = Path(__file__).parent / "make_secrets.py"
    return f"pyinfra -y INVENTORY {script}" if _is_own(inventory) else ""


def _check_groups(inventory: Inventory) -> None:
    """Raise DeployError for a group that looks mistyped: its hosts would leave the fleet."""
    known = {near: group for role, group in GROUPS.items() for near in (role, group)}
    for group, hosts in inventory.groups.items():
        near = difflib.get_close_matches(group, known, n=1, cutoff=0.85)
        lost = [host.name for host in hosts if not roles_in(host)]
        if near and lost:
            raise DeployError(
                f"{group}: expected one of the groups {_KNOWN_GROUPS}, got a similar name with "
                f"{', '.join(lost)}. Did you mean {known[near[0]]}? Otherwise rename the group"
            )


def outsiders(inventory: Inventory) -> list[str]:
    """The hosts that are in none of the groups."""
    return [host.name for host in inventory if not roles_in(host)]


def check_patterns(
    argv: Sequence[str], hosts: Sequence[str], groups: Mapping[str, Sequence[object]]
) -> None:
    """Raise DeployError for a --limit or --exclude without a host, of which pyinfra only warns."""
    for option in ("--limit", "--exclude"):
        values = [value for name, value in itertools.pairwise(argv) if name == option]
        values += [text.partition("=")[2] for text in argv if text.startswith(f"{option}=")]
        for value in values:
            if not (value == "all" or groups.get(value) or fnmatch.filter(hosts, value)):
                known = ", ".join([*hosts, *(name for name in GROUPS.values() if groups.get(name))])
                raise DeployError(f"{option}: expected a host or group ({known}), got {value!r}")


def _merged_data(hosts: list[Host]) -> dict[str, Any]:
    """The environment and the settings in the data of all hosts. Raises DeployError."""
    merged: dict[str, Any] = {}
    first: dict[str, str] = {}
    for host in hosts:
        for key, value in host.data.dict().items():
            if key != ENVIRONMENT and not key.startswith(ENV_PREFIX):
                continue
            if key != ENVIRONMENT and not is_setting(key):
                raise DeployError(
                    f"{key}: expected it in the environment of the command, got it in the data of "
                    f"the inventory ({host.name})"
                )
            if merged.setdefault(key, value) != value:
                raise DeployError(
                    f"{key}: expected one value for all hosts, got {merged[key]!r} ({first[key]}) "
                    f"and {value!r} ({host.name})"
                )
            first.setdefault(key, host.name)
    return merged


def roles_in(host: Host) -> list[Role]:
    """The roles of a host by its groups."""
    return [role for role, group in GROUPS.items() if group in host.groups]


def _table_of(hosts: list[Host]) -> dict[str, object]:
    """[hosts] as the settings would have it."""
    return {
        host.name: {
            "address": host.data.get("ssh_hostname", host.name),
            "ssh_port": int(host.data.get("ssh_port", 22)),
            "private_address": str(host.data.get("private_address", "")),
            "roles": roles_in(host),
        }
        for host in hosts
    }


def prepare(settings: Settings, on_progress: OnProgress, remedy: str = "") -> Deployment:
    """Render each host's plan and get its programs, once. Raises DeployError.

    `remedy`: as remedy_of() has it.
    """
    key = settings.model_dump_json()
    try:
        if key not in _PREPARED:
            _PREPARED[key] = _prepare(settings, on_progress, remedy)
    except ERRORS as error:
        raise DeployError(str(error)) from None
    return _PREPARED[key]


ERRORS = (AlertError, ArtifactError, HostsError, SettingsError)
"""What preparing raises; the texts are for the operator."""
_PREPARED: dict[str, Deployment] = {}


def _prepare(settings: Settings, on_progress: OnProgress, remedy: str) -> Deployment:
    kept = secrets.secrets_path(settings.stack.environment)
    known_secrets = secrets.read_all(kept, settings, remedy=remedy)
    plans = {name: plan_for(settings, known_secrets, name) for name in settings.hosts}
    known = programs.catalogue(settings)
    needed = {c.artifact for plan in plans.values() for c in plan.components if c.artifact}
    folders = programs.ensure(settings, sorted(needed), on_progress)
    sources, sums = {}, {}
    for name in sorted(needed):
        for program in known[name].binaries:
            path = f"{changes.OPT}/{name}/{known[name].key}/{program}"
            sources[path] = folders[name] / program
            with sources[path].open("rb") as file:
                sums[path] = hashlib.file_digest(file, "sha256").hexdigest()
    binaries = {
        host: {component.name: _binaries_of(component, sums) for component in plan.components}
        for host, plan in plans.items()
    }
    return Deployment(settings, plans, binaries, sources)


def _binaries_of(component: HostComponent, sums: Mapping[str, str]) -> list[Binary]:
    if not component.artifact:
        return []
    start = f"{changes.target_of(component)}/"
    return [Binary(path, digest) for path, digest in sums.items() if path.startswith(start)]
