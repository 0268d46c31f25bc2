"""nftables rules of a log server: members of a cluster alone reach the cluster's ports. Pure.

Every other port of the stack listens on loopback, or, the gateway's, is there for everybody. The
rules only ever refuse: whether the gateway's port is open is the host's own rules' matter.
"""

from __future__ import annotations

from collections.abc import Iterable

from stack.hosts.files import HostFile
from stack.settings import Settings
from stack.targets import Cluster
from stack.units import is_ip_address

RULES = "/etc/nftables.d/logstack.nft"
DROP_IN = "/etc/systemd/system/nftables.service.d/logstack.conf"
PATHS = (RULES, DROP_IN)
"""Files that are there for Logstack alone: one that is in no plan goes."""
TABLE = "inet logstack"
HEAD = "# Rendered by Logstack: change its settings.\n"


def firewall_files(settings: Settings, cluster: Cluster | None) -> tuple[HostFile, ...]:
    """None for a single server. Peers that are known by name alone cannot be told apart by
    address; there the certificates, which every member has to show, are the only guard.
    """
    if cluster is None or not all(is_ip_address(peer) for peer in cluster.peers):
        return ()
    # nftables.service flushes all rules when it starts.
    drop_in = f"{HEAD}[Service]\nExecStartPost=/usr/sbin/nft --file {RULES}\n"
    return (
        HostFile(RULES, _rules(settings, cluster.peers), "0644", "root"),
        HostFile(DROP_IN, drop_in, "0644", "root"),
    )


def cluster_ports(settings: Settings) -> tuple[int, ...]:
    """The ports that log servers open to each other."""
    names = ["alertmanager_cluster"]
    if settings.stack.engine == "loki":
        names += ["loki_memberlist", "loki_grpc"]
    return tuple(settings.ports.effective(name) for name in names)


def _rules(settings: Settings, peers: Iterable[str]) -> str:
    ports = ", ".join(str(port) for port in cluster_ports(settings))
    four = [peer for peer in peers if ":" not in peer]
    six = [peer for peer in peers if ":" in peer]
    accepted = [
        f"        {family} saddr {{ {', '.join(members)} }} accept"
        for family, members in (("ip", four), ("ip6", six))
        if members
    ]
    lines = "\n".join(accepted)
    return f"""{HEAD}table {TABLE}
delete table {TABLE}
table {TABLE} {{
    chain cluster {{
        iifname "lo" accept
{lines}
        drop
    }}
    chain input {{
        type filter hook input priority -5; policy accept;
        meta l4proto {{ tcp, udp }} th dport {{ {ports} }} jump cluster
    }}
}}
"""
