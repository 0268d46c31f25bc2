"""nftables rules of a log server: members of a cluster alone reach the cluster's ports. Pure.

Every other port of the stack listens on loopback, or, the gateway's, is there for everybody. The
rules only ever refuse: whether the gateway's port is open is the host's own rules' matter.
"""

from __future__ import annotations

from collections.abc import Iterable

from stack.engines.kinds import kind_of
from stack.hosts.files import RENDERED as HEAD
from stack.hosts.files import UNITS, HostFile
from stack.settings import Settings
from stack.settings.targets import Cluster
from stack.settings.units import is_ip_address

RULES = "/etc/nftables.d/logstack.nft"
UNIT = f"{UNITS}/logstack-firewall.service"
DROP_IN = f"{UNITS}/nftables.service.d/logstack.conf"
PATHS = (UNIT, RULES, DROP_IN)
"""Files that are there for Logstack alone: one that is in no plan goes."""
TABLE = "inet logstack"
LOAD = f"/usr/sbin/nft --file {RULES}"
UNLOAD = f"add table {TABLE}; delete table {TABLE}"  # whether it is there or not
# On Debian nothing starts nftables.service: the rules need a unit of their own to be there after a
# start of the host, before its network is.
UNIT_TEXT = f"""{HEAD}[Unit]
Description=Logstack: the ports of a cluster are for its members
DefaultDependencies=no
After=nftables.service
Before=network-pre.target
Wants=network-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={LOAD}
ExecReload={LOAD}
ExecStop=/usr/sbin/nft "{UNLOAD}"

[Install]
WantedBy=sysinit.target
"""
# Where somebody does start or reload nftables.service, it flushes all rules.
DROP_IN_TEXT = f"{HEAD}[Service]\nExecStartPost={LOAD}\nExecReload={LOAD}\n"


def firewall_files(settings: Settings, cluster: Cluster | None) -> tuple[HostFile, ...]:
    """None for a single server. Peers that are known by name alone cannot be told apart by
    address; there the certificates, which every member has to show, are the only guard.
    """
    if cluster is None or not all(is_ip_address(peer) for peer in cluster.peers):
        return ()
    return (
        HostFile(RULES, _rules(settings, cluster.peers), "0644", "root"),
        HostFile(DROP_IN, DROP_IN_TEXT, "0644", "root"),
        HostFile(UNIT, UNIT_TEXT, "0644", "root"),
    )


def cluster_ports(settings: Settings) -> tuple[int, ...]:
    """The ports that log servers open to each other."""
    names = ("alertmanager_cluster", *kind_of(settings).cluster_ports)
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
