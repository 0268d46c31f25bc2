"""The roles of hosts and the addresses at which they reach each other. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stack.engines.kinds import kind_of
from stack.hosts import HostsError
from stack.settings import Settings
from stack.settings.hosts import DEFAULT_ROLES, ROLES, Host, Role
from stack.settings.targets import Cluster, Destination
from stack.settings.units import join_host_port


def find_host(settings: Settings, name: str) -> Host:
    """One host. Raises HostsError where the settings have none of that name."""
    if name not in settings.hosts:
        known = ", ".join(settings.hosts) or "(none)"
        raise HostsError(f"hosts: expected one of {known}, got {name!r}")
    return settings.hosts[name]


def hosts_with_role(settings: Settings, role: Role) -> tuple[str, ...]:
    """Names of the hosts that have a role, in the order of the settings."""
    named = tuple(name for name, host in settings.hosts.items() if role in host.roles)
    if named or role not in DEFAULT_ROLES:
        return named
    return hosts_with_role(settings, "log_server")[:1]


def roles_of(settings: Settings, name: str) -> tuple[Role, ...]:
    """The roles of a host, including those that no host has and the first log server takes."""
    return tuple(role for role in ROLES if name in hosts_with_role(settings, role))


def hosts_with_agent(settings: Settings) -> tuple[str, ...]:
    """The hosts that ship records: application hosts, and log servers their own."""
    servers, apps = hosts_with_role(settings, "log_server"), hosts_with_role(settings, "app_host")
    return tuple(name for name in settings.hosts if name in {*servers, *apps})


def runs_grafana(settings: Settings) -> bool:
    """Whether a host runs Grafana: one has the role `dashboards`, or the settings say `on`."""
    named = any("dashboards" in host.roles for host in settings.hosts.values())
    return settings.stack.grafana == "on" or (named and settings.stack.grafana == "auto")


def is_archived(settings: Settings, name: str) -> bool:
    """Whether an archiver deletes days from this log server's engine.

    Loki's servers are one engine; every VictoriaLogs is an engine by itself.
    """
    roles = roles_of(settings, name)
    return "archive" in roles or (kind_of(settings).is_cluster and "log_server" in roles)


def gateway_names(settings: Settings, host: Host) -> tuple[str, ...]:
    """Every name and address that a log server's certificate must cover."""
    names = (host.peer_address, host.address, settings.gateway.name)
    return tuple(dict.fromkeys(name for name in names if name))


def gateway_url(settings: Settings, address: str, path: str = "") -> str:
    """The address of a path on the gateway of a log server."""
    port = settings.ports.effective("gateway")
    return f"https://{join_host_port(address, port)}{path}"


def public_url(settings: Settings) -> str:
    """Where users reach the engine: the same in the messages of every log server."""
    first = settings.hosts[hosts_with_role(settings, "log_server")[0]]
    return gateway_url(settings, settings.gateway.name or first.address)


def destinations(settings: Settings, name: str, folder: Path) -> tuple[Destination, ...]:
    """Where the agent of a host sends to. `folder` is where its credentials will be.

    Every VictoriaLogs gets every record. Loki's servers are one cluster and one address is enough:
    `gateway.name` if set, otherwise the hosts are spread over the servers.
    """
    servers = hosts_with_role(settings, "log_server")
    hosts = settings.hosts
    engine = kind_of(settings)
    if engine.is_cluster:
        own = sorted(hosts).index(name) % len(servers)
        addresses = {engine.name: settings.gateway.name or hosts[servers[own]].peer_address}
    else:
        addresses = {server: hosts[server].peer_address for server in servers}
    ca_file = str(folder / "ca.pem") if settings.gateway.tls == "own_ca" else ""
    return tuple(
        Destination(
            name=server,
            url=gateway_url(settings, address, engine.ingestion),
            authorization_file=str(folder / "authorization"),
            ca_file=ca_file,
        )
        for server, address in addresses.items()
    )


def cluster_of(settings: Settings, name: str, role: Role) -> Cluster | None:
    """The other hosts with the same role, or None for a single one."""
    hosts: Mapping[str, Host] = settings.hosts
    members = hosts_with_role(settings, role)
    if len(members) < 2 or name not in members:
        return None
    peers = tuple(hosts[member].peer_address for member in members if member != name)
    return Cluster(hosts[name].peer_address, peers)
