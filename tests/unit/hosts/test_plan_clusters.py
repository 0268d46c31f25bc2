"""What a plan says where several log servers belong together: Alertmanager and Loki."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from stack.hosts import HostsError
from tests.support.host_plans import LOKI, names, plans, text_of, values_of


def test_alertmanagers_are_a_cluster_that_shows_certificates(tmp_path: Path) -> None:
    """Each names the others and the file with its certificates."""
    plan = plans(tmp_path, "prod")["logs-2"]
    unit = text_of(plan, "/etc/systemd/system/logstack-alertmanager.service")
    for peer in ("logs-1", "logs-3"):
        assert f'"--cluster.peer={peer}.example.net:21021"' in unit
    assert "peer=logs-2" not in unit
    tls = json.loads(text_of(plan, "/etc/logstack/alertmanager/tls/tls.yml"))
    assert tls["tls_server_config"]["client_auth_type"] == "RequireAndVerifyClientCert"


def test_a_single_alertmanager_opens_no_cluster(tmp_path: Path) -> None:
    """It would listen on every interface otherwise."""
    unit = text_of(
        plans(tmp_path, "staging")["logs-1"], "/etc/systemd/system/logstack-alertmanager.service"
    )
    assert '"--cluster.listen-address="' in unit


def test_three_loki_servers_share_a_ring_and_a_bucket(tmp_path: Path) -> None:
    """Replication by three, found by gossip, encrypted between them; the key is in a 0600 file."""
    plan = plans(tmp_path, "prod", **LOKI)["logs-1"]
    assert names(plan) == [
        "loki",
        "seaweedfs",
        "archiver",
        "alertmanager",
        "gateway",
        "monitor",
        "otelcol",
    ]
    document = yaml.safe_load(text_of(plan, "/etc/logstack/loki/config.yaml"))
    assert document["common"]["replication_factor"] == 3
    assert document["common"]["ring"]["kvstore"]["store"] == "memberlist"
    assert document["common"]["storage"]["s3"]["bucketnames"] == "shelf"
    assert document["memberlist"]["join_members"] == [
        "logs-2.example.net:21022",
        "logs-3.example.net:21022",
    ]
    assert document["memberlist"]["tls_enabled"] is True
    assert document["memberlist"]["bind_port"] == document["memberlist"]["advertise_port"] == 21022
    assert "advertise_addr" not in document["memberlist"]  # which takes no name
    assert document["ingester_client"]["grpc_client_config"]["tls_enabled"] is True
    (config,) = [f for f in plan.components[0].files if f.path.endswith("loki/config.yaml")]
    assert (config.mode, config.secret) == ("0600", True)


def test_several_loki_servers_need_a_bucket(tmp_path: Path) -> None:
    """Each would keep a part of the records otherwise."""
    with pytest.raises(HostsError, match=r"loki_storage\.bucket: expected a bucket"):
        plans(tmp_path, "prod", stack={"engine": "loki"})


def test_the_ports_of_a_cluster_are_for_its_members(tmp_path: Path) -> None:
    """Where their addresses are known; names would have to be resolved before the network is up."""
    servers = {
        f"logs-{n}": {"address": f"10.0.0.{n}", "roles": ["log_server", "alerting"]}
        for n in (1, 2, 3)
    }
    plan = plans(tmp_path, "staging", hosts=servers)["logs-1"]
    rules = text_of(plan, "/etc/nftables.d/logstack.nft")
    assert "        ip saddr { 10.0.0.2, 10.0.0.3 } accept\n        drop\n" in rules
    assert "th dport { 21021 } jump cluster" in rules
    alone = text_of(plans(tmp_path, "prod")["logs-1"], "/etc/nftables.d/logstack.nft")
    assert "chain cluster" not in alone


def test_on_a_log_server_only_its_own_users_reach_its_programs(tmp_path: Path) -> None:
    """Each port but the gateway's, which asks for a password."""
    values = values_of("staging")
    found = plans(tmp_path, "staging")
    rules = text_of(found["logs-1"], "/etc/nftables.d/logstack.nft")
    assert '"logstack-victorialogs", "logstack-vmalert", "root" } accept' in rules
    (ports,) = re.findall(r"tcp dport \{ (.*) \} tcp flags", rules)
    own = {"victorialogs", "vmalert", "alertmanager", "seaweedfs", "seaweedfs_filer"}
    assert {str(values.ports.effective(name)) for name in own} <= set(ports.split(", "))
    assert str(values.ports.effective("gateway")) not in ports.split(", ")
    assert "nft" not in "".join(file.path for file in found["app-1"].files)


def test_loki_is_a_cluster_also_where_one_server_alone_alerts(tmp_path: Path) -> None:
    """The roles are two matters."""
    servers = {f"logs-{n}": {"address": f"10.0.0.{n}", "roles": ["log_server"]} for n in (1, 2, 3)}
    found = plans(tmp_path, "staging", hosts=servers, **LOKI)
    assert [names(plan) for plan in found.values()] == [
        ["loki", "seaweedfs", "archiver", "alertmanager", "gateway", "monitor", "otelcol"],
        ["loki", "gateway", "monitor", "otelcol"],
        ["loki", "gateway", "monitor", "otelcol"],
    ]
    for plan in found.values():
        document = yaml.safe_load(text_of(plan, "/etc/logstack/loki/config.yaml"))
        assert document["common"]["replication_factor"] == 3
        assert document["memberlist"]["advertise_addr"].startswith("10.0.0.")
    unit = text_of(found["logs-1"], "/etc/systemd/system/logstack-alertmanager.service")
    assert '"--cluster.listen-address="' in unit


def test_two_loki_servers_are_refused(tmp_path: Path) -> None:
    """Three copies need three servers."""
    servers = {f"logs-{n}": {"address": f"10.0.0.{n}", "roles": ["log_server"]} for n in (1, 2)}
    with pytest.raises(HostsError, match=r"at least three,.* got logs-1 and logs-2"):
        plans(tmp_path, "staging", hosts=servers, **LOKI)
