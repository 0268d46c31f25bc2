"""nftables rules of a log server: only members of a cluster reach the cluster's ports. Pure.

Every other port of the stack listens on loopback, except the gateway's, which is open to all. The
rules only refuse packets: they never open a port that the host's own rules close.
"""

from __future__ import annotations

from collections.abc import Sequence

from stack.engines.kinds import kind_of
from stack.hosts.files import UNITS, HostFile, public_file
from stack.render.templates import render_template
from stack.settings import Settings
from stack.settings.targets import Cluster
from stack.settings.units import is_ip_address

RULES = "/etc/nftables.d/logstack.nft"
UNIT = f"{UNITS}/logstack-firewall.service"
DROP_IN = f"{UNITS}/nftables.service.d/logstack.conf"
PATHS = (UNIT, RULES, DROP_IN)
"""Files that belong to Logstack alone: a deploy removes those that are in no plan."""
TABLE = "inet logstack"
LOAD = f"/usr/sbin/nft --file {RULES}"
UNLOAD = f"add table {TABLE}; delete table {TABLE}"  # also right where the table does not exist


def firewall_files(settings: Settings, cluster: Cluster | None) -> tuple[HostFile, ...]:
    """The rules and their units; nothing for a single server.

    Also nothing where a peer is given by name: rules filter by address. There the certificates,
    which every member has to present, are the only protection.
    """
    if cluster is None or not all(is_ip_address(peer) for peer in cluster.peers):
        return ()
    return (
        public_file(RULES, _rules(settings, cluster.peers)),
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


def _rules(settings: Settings, peers: Sequence[str]) -> str:
    return render_template(
        "nftables/logstack.nft.j2",
        table=TABLE,
        ipv4=[peer for peer in peers if ":" not in peer],
        ipv6=[peer for peer in peers if ":" in peer],
        ports=cluster_ports(settings),
    )
