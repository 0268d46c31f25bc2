"""The tables [hosts.<name>], [gateway], [app_hosts], [services] and [loki_storage]."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from stack.settings.base import (
    Endpoint,
    OptionalBucket,
    PortNumber,
    Section,
    ServiceName,
    match,
)
from stack.settings.units import Bytes, between, canonical_address

Role = Literal["log_server", "app_host", "dashboards", "alerting", "archive"]
ROLES: tuple[Role, ...] = get_args(Role)
# Where no host has one of these roles, the first log server has it.
DEFAULT_ROLES: tuple[Role, ...] = ("dashboards", "alerting", "archive")
# An IPv6 address can be written in several ways; certificates have one.
Address = Annotated[
    str,
    match(
        r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?",
        "a host name or an IP address, such as logs-1.example.com or 10.0.0.1",
    ),
    AfterValidator(canonical_address),
]
_ACCOUNT = r"[a-z_][a-z0-9_.-]{0,31}"
_ACCOUNT_WORDS = "a user name: lower-case letters, digits, `_`, `.` and `-`, at most 32 characters"
Account = Annotated[str, match(_ACCOUNT, _ACCOUNT_WORDS)]
OptionalAccount = Annotated[str, match(f"({_ACCOUNT})?", f"{_ACCOUNT_WORDS}, or ''")]
Memory = Annotated[
    str, match(r"[1-9][0-9]?%|[1-9][0-9]*[MG]", "an amount of memory such as 50%, 512M or 2G")
]


class Host(Section):
    """One machine. `address` is where the control machine and the other hosts reach it."""

    address: Address
    roles: tuple[Role, ...] = Field(strict=False, min_length=1)
    private_address: Address | Literal[""] = ""
    ssh_port: PortNumber = 22
    ssh_user: OptionalAccount = ""
    ssh_key: str = ""

    @property
    def peer_address(self) -> str:
        """Where the other hosts reach it."""
        return self.private_address or self.address


def _check_fleet(hosts: Mapping[str, Host]) -> Mapping[str, Host]:
    for name, host in hosts.items():
        if twice := [role for role, count in Counter(host.roles).items() if count > 1]:
            raise ValueError(f"{name}.roles: expected each role once, got {twice[0]} twice")
    for name, host in hosts.items():
        place = (host.address, host.ssh_port)
        first = next(n for n, h in hosts.items() if (h.address, h.ssh_port) == place)
        if first != name:
            got = f"{host.address}, which hosts.{first} also has"
            raise ValueError(f"{name}.address: expected a different address per host, got {got}")
    servers = [name for name, host in hosts.items() if "log_server" in host.roles]
    if hosts and not servers:
        raise ValueError(
            f"{next(iter(hosts))}.roles: expected a host with the role log_server, got none"
        )
    for name, host in hosts.items():
        for role in ("alerting", "archive", "dashboards"):
            if role in host.roles and name not in servers:
                raise ValueError(
                    f"{name}.roles: expected {role} on a log server, because it reads the engine "
                    f"beside it, got {', '.join(host.roles)}"
                )
    return hosts


HostName = Annotated[
    str,
    match(
        r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?",
        "a host's name: lower-case letters, digits, `.` and `-`, at most 63 characters",
    ),
]
Fleet = Annotated[dict[HostName, Host], AfterValidator(_check_fleet)]


class Gateway(Section):
    """Caddy in front of the log servers."""

    tls: Literal["own_ca", "acme", "files"]
    name: Address | Literal[""]
    acme_email: str
    certificate_file: str
    key_file: str
    readers: tuple[Account, ...] = Field(strict=False)
    request_limit: Annotated[Bytes, between("16MiB")]  # a batch of an agent has 8 MB


class App(Section):
    """An application of the app hosts: its service, which is the folder of its log files."""

    service: ServiceName
    user: Account


class AppHosts(Section):
    """What the agent of an app host reads, and how much of that the host keeps."""

    apps: tuple[App, ...] = Field(strict=False)
    docker_logs: bool
    journal: bool
    journal_limit: Annotated[Bytes, between("16MiB")]
    rotate_size: Annotated[Bytes, between("64KiB")]
    rotate_keep: int = Field(ge=1, le=1000)
    docker_size: Annotated[Bytes, between("64KiB")]
    docker_keep: int = Field(ge=1, le=1000)


class Services(Section):
    """Limits of every systemd unit on hosts."""

    memory: Memory
    agent_memory: Memory
    open_files: int = Field(ge=1024, le=1_000_000)


class LokiStorage(Section):
    """The object store that Loki's servers share; without a bucket Loki keeps files itself."""

    endpoint: Endpoint
    region: str = Field(min_length=1)
    bucket: OptionalBucket
