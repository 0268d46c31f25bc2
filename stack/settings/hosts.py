"""The tables [hosts.<name>], [gateway], [app_hosts] and [services]. stack/settings/ has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from stack.settings.base import Section
from stack.settings.units import Bytes, canonical_address

Role = Literal["log_server", "app_host", "dashboards", "alerting", "archive"]
ROLES: tuple[Role, ...] = get_args(Role)
# Where nobody has one of these roles, the first log server has it.
DEFAULT_ROLES: tuple[Role, ...] = ("dashboards", "alerting", "archive")
HOST_NAME = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"
ADDRESS = r"^[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?$"
# An IPv6 address may be written in several ways; certificates know one.
Address = Annotated[str, Field(pattern=ADDRESS), AfterValidator(canonical_address)]
ACCOUNT = r"^[a-z_][a-z0-9_.-]{0,31}$"


class Host(Section):
    """One machine. `address` is where the control machine and the other hosts reach it."""

    address: Address
    roles: tuple[Role, ...] = Field(strict=False, min_length=1)
    private_address: Address | Literal[""] = ""
    ssh_port: int = Field(default=22, ge=1, le=65535)
    ssh_user: str = Field(default="", pattern=f"{ACCOUNT}|^$")
    ssh_key: str = ""

    @property
    def peer_address(self) -> str:
        """Where the other hosts reach it."""
        return self.private_address or self.address


def _checked_fleet(hosts: Mapping[str, Host]) -> Mapping[str, Host]:
    for name, host in hosts.items():
        if twice := [role for role, count in Counter(host.roles).items() if count > 1]:
            raise ValueError(f"{name}.roles: wanted each role once, found {twice[0]} twice")
    for name, host in hosts.items():
        place = (host.address, host.ssh_port)
        first = next(n for n, h in hosts.items() if (h.address, h.ssh_port) == place)
        if first != name:
            found = f"{host.address}, which hosts.{first} has too"
            raise ValueError(f"{name}.address: wanted an address of its own, found {found}")
    servers = [name for name, host in hosts.items() if "log_server" in host.roles]
    if hosts and not servers:
        raise ValueError(
            f"{next(iter(hosts))}.roles: wanted a host with the role log_server, found none"
        )
    for name, host in hosts.items():
        for role in ("alerting", "archive", "dashboards"):
            if role in host.roles and name not in servers:
                raise ValueError(
                    f"{name}.roles: wanted {role} on a log server, because it reads the engine "
                    f"beside it, found {', '.join(host.roles)}"
                )
    return hosts


HostName = Annotated[str, Field(pattern=HOST_NAME)]
Fleet = Annotated[dict[HostName, Host], AfterValidator(_checked_fleet)]


class Gateway(Section):
    """Caddy in front of the log servers."""

    tls: Literal["own_ca", "acme", "files"]
    name: Address | Literal[""]
    acme_email: str
    certificate_file: str
    key_file: str
    readers: tuple[Annotated[str, Field(pattern=ACCOUNT)], ...] = Field(strict=False)
    request_limit: Bytes


class App(Section):
    """An application of the app hosts: its service, which is the folder of its log files."""

    service: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    user: str = Field(pattern=ACCOUNT)


class AppHosts(Section):
    """What the agent of an app host reads, and how much of it the host keeps."""

    apps: tuple[App, ...] = Field(strict=False)
    docker_logs: bool
    journal: bool
    journal_limit: Bytes
    rotate_size: Bytes
    rotate_keep: int = Field(ge=1, le=1000)
    docker_size: Bytes
    docker_keep: int = Field(ge=1, le=1000)


class Services(Section):
    """Limits of every unit on hosts."""

    memory: str = Field(pattern=r"^([1-9][0-9]?%|[1-9][0-9]*[MG])$")
    agent_memory: str = Field(pattern=r"^([1-9][0-9]?%|[1-9][0-9]*[MG])$")
    open_files: int = Field(ge=1024, le=1_000_000)


class LokiStorage(Section):
    """The object store that Loki's servers share; without a bucket Loki keeps files itself."""

    endpoint: str = Field(pattern=r"^(https?://[^\s/]+)?$")
    region: str = Field(min_length=1)
    bucket: str = Field(pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$")
