"""The fleet of an inventory: its settings, and each host's plan and programs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory

from provisioning import DeployError, changes
from provisioning.changes import Binary
from stack import settings as stack_settings
from stack.alerting import AlertError
from stack.artifacts import ArtifactError, OnProgress
from stack.artifacts import host_programs as programs
from stack.hosts import HostsError, secrets
from stack.hosts.plan import HostComponent, HostPlan, plan_for
from stack.hosts.roles import roles_of
from stack.settings import ENV_PREFIX, Layer, Settings, SettingsError
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
    """The settings of the environment, with the inventory's hosts. Raises SettingsError.

    Data whose names start with LOGSTACK_ are settings: text as in the environment of a process, any
    other value as in TOML.
    """
    hosts = [host for host in inventory if roles_in(host)]
    if not hosts:
        raise DeployError(
            f"inventory: expected hosts in the groups {', '.join(GROUPS.values())}, got none"
        )
    first = hosts[0].data.dict()
    own = {key: value for key, value in first.items() if key.startswith(ENV_PREFIX)}
    environ = os.environ | {key: value for key, value in own.items() if isinstance(value, str)}
    environment = str(first.get(ENVIRONMENT) or environ.get(stack_settings.ENV_VARIABLE, ""))
    if not environment:
        raise DeployError(
            f"{ENVIRONMENT}: expected an environment such as staging in the data of "
            f"{hosts[0].name}, got nothing"
        )
    tables: dict[str, Any] = {}
    for name, value in own.items():
        section, _, key = name.removeprefix(ENV_PREFIX).lower().partition("__")
        if not isinstance(value, str):
            tables.setdefault(section, {})[key] = value
    if not all(host.data.get(NAMED) for host in hosts):
        tables["hosts"] = _table_of(hosts)
    inventory_layer = Layer("the inventory", tables)
    return stack_settings.load_for_hosts(environment, environ, last=inventory_layer)


def roles_in(host: Host) -> list[Role]:
    """The roles of a host by its groups."""
    return [role for role, group in GROUPS.items() if group in host.groups]


def _table_of(hosts: list[Host]) -> dict[str, object]:
    """[hosts] as the settings would have it."""
    return {
        host.name: {
            "address": host.data.get("ssh_hostname", host.name),
            "ssh_port": int(host.data.get("ssh_port", 22)),
            "private_address": host.data.get("private_address", ""),
            "roles": roles_in(host),
        }
        for host in hosts
    }


def prepare(settings: Settings, on_progress: OnProgress) -> Deployment:
    """Render each host's plan and get its programs, once. Raises HostsError and ArtifactError."""
    key = settings.model_dump_json()
    if key not in _PREPARED:
        _PREPARED[key] = _prepare(settings, on_progress)
    return _PREPARED[key]


ERRORS = (AlertError, ArtifactError, HostsError, SettingsError)
"""What preparing raises; the texts are for the operator."""
_PREPARED: dict[str, Deployment] = {}


def _prepare(settings: Settings, on_progress: OnProgress) -> Deployment:
    known_secrets = secrets.read_all(secrets.secrets_path(settings.stack.environment), settings)
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
