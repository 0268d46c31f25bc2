"""nftables rules of a log server: who reaches the stack's ports. Pure.

All ports but the gateway's and a cluster's listen on loopback. There only the stack's own users and
root may connect: engine, evaluator, Alertmanager and object store know no password. Only members of
a cluster reach its ports. The rules never open a port that the host's own rules close.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stack.engines.kinds import kind_of
from stack.hosts.files import UNITS, HostFile, public_file
from stack.render.templates import render_template
from stack.settings import Settings
from stack.settings.targets import Cluster
from stack.settings.units import is_ip_address

RULES = "/etc/nftables.d/logstack.nft"
UNIT = f"{UNITS}/logstack-firewall.service"
DROP_IN = f"{UNITS}/nftables.service.d/logstack.conf"
PATHS = (RULES, DROP_IN, UNIT)
"""Files that belong to Logstack alone: a deploy removes those that are in no plan."""
TABLE = "inet logstack"
LOAD = f"/usr/sbin/nft --file {RULES}"
UNLOAD = f"add table {TABLE}; delete table {TABLE}"  # also right where the table does not exist


@dataclass(frozen=True)
class Loopback:
    """The ports of programs on this host, and the users that may connect to them."""

    ports: Sequence[int]
    users: Sequence[str]


def firewall_files(
    settings: Settings, cluster: Cluster | None, loopback: Loopback
) -> tuple[HostFile, ...]:
    """The rules and their units.

    Without rules for a cluster where a peer is given by name: rules filter by address. There the
    certificates, which every member has to present, are the only protection.
    """
    peers = cluster.peers if cluster and all(map(is_ip_address, cluster.peers)) else ()
    return (
        public_file(RULES, _rules(settings, peers, loopback)),
        public_file(DROP_IN, render_template("systemd/nftables.conf.j2", load=LOAD)),
        public_file(UNIT, unit_text()),
    )


def unit_text() -> str:
    """The unit that loads the rules at boot, before the network is up."""
    return render_template("systemd/firewall.service.j2", load=LOAD, unload=UNLOAD)


def cluster_ports(settings: Settings) -> tuple[int, ...]:
    """The ports that log servers open to each other."""
    names = ("alertmanager_cluster", *kind_of(settings).cluster_ports)
    return tuple(settings.ports.effective(name) for name in names)


def _rules(settings: Settings, peers: Sequence[str], loopback: Loopback) -> str:
    return render_template(
        "nftables/logstack.nft.j2",
        table=TABLE,
        ipv4=[peer for peer in peers if ":" not in peer],
        ipv6=[peer for peer in peers if ":" in peer],
        ports=cluster_ports(settings) if peers else (),
        loopback=loopback,
    )
