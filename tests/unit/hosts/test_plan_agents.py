"""What a plan says of the agents that hosts may have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.hosts.plan import HostPlan
from stack.settings import SettingsError
from tests.support.host_plans import LOKI, names, plans, text_of

PROMTAIL: dict[str, Any] = {**LOKI, "stack": {"engine": "loki", "agent": "promtail"}}
CONFIG = "/etc/logstack/promtail/config.yaml"


def config_of(plan: HostPlan) -> Any:
    return yaml.safe_load(text_of(plan, CONFIG))


def test_promtail_is_the_agent_of_every_host(tmp_path: Path) -> None:
    """In place of the collector, with its own user and state, and not one host at a time."""
    found = plans(tmp_path, "staging", **PROMTAIL)
    assert {names(plan)[-1] for plan in found.values()} == {"promtail"}
    assert not any("otelcol" in names(plan) for plan in found.values())
    _, agent = found["app-1"].components
    assert (agent.user, agent.serial, agent.artifact) == ("logstack-promtail", False, "promtail")
    assert agent.directories == (("/var/lib/logstack/promtail", "0700"),)
    assert agent.health.endswith("/ready")
    positions = config_of(found["app-1"])["positions"]["filename"]
    assert positions == "/var/lib/logstack/promtail/positions.yaml"
    assert "MemoryMax=512M" in agent.unit.text


def test_promtail_authenticates_as_its_host_with_a_password_in_a_private_file(
    tmp_path: Path,
) -> None:
    """Its configuration, which everybody may read, has the path; the CA is that of the fleet."""
    plan = plans(tmp_path, "staging", **PROMTAIL)["app-1"]
    (client,) = config_of(plan)["clients"]
    assert client["url"] == "https://logs-1.staging.example.net:21019/loki/api/v1/push"
    path = "/etc/logstack/promtail/authorization"
    assert client["basic_auth"] == {"username": "app-1", "password_file": path}
    assert client["tls_config"] == {"ca_file": "/etc/logstack/promtail/ca.pem"}
    (file,) = (f for c in plan.components for f in c.files if f.path == path)
    assert (file.mode, file.owner, file.secret) == ("0600", "logstack-promtail", True)
    assert file.text not in text_of(plan, CONFIG)
    assert "BEGIN CERTIFICATE" in text_of(plan, "/etc/logstack/promtail/ca.pem")
    acme = {"gateway": {"tls": "acme"}}
    (client,) = config_of(plans(tmp_path, "staging", **PROMTAIL, **acme)["app-1"])["clients"]
    assert "tls_config" not in client


def test_promtail_reads_what_the_collector_reads(tmp_path: Path) -> None:
    """Log files, Docker's log files and the journal, but not its own messages there."""
    hosts = plans(tmp_path, "staging", **PROMTAIL, app_hosts={"docker_logs": True})
    files, docker, journal = config_of(hosts["app-1"])["scrape_configs"]
    labels = files["static_configs"][0]["labels"]
    assert labels["__path__"] == "/var/log/erp-backend-api/*.log"
    assert (labels["host"], labels["environment"]) == ("app-1", "staging")
    path = docker["static_configs"][0]["labels"]["__path__"]
    assert path == "/var/lib/docker/containers/*/*-json.log"
    assert any("cri" in stage for stage in docker["pipeline_stages"])
    assert not any("cri" in stage for stage in files["pipeline_stages"])
    assert journal["journal"]["labels"]["host"] == "app-1"
    own = journal["relabel_configs"][0]
    assert (own["action"], own["source_labels"]) == ("drop", ["__journal__systemd_unit"])
    assert re.fullmatch(own["regex"], "logstack-promtail.service")
    assert "SupplementaryGroups=systemd-journal" in hosts["app-1"].components[-1].unit.text
    (only,) = config_of(hosts["logs-1"])["scrape_configs"]
    assert only["job_name"] == "journal"


def test_promtail_sees_log_files_through_mounts_too(tmp_path: Path) -> None:
    """Through its own: the former agent removes its mounts when it stops."""
    plan = plans(tmp_path, "staging", **PROMTAIL, app_hosts={"docker_logs": True})["app-1"]
    unit = plan.components[-1].unit.text
    script = '"/usr/bin/python3" "-I" "/etc/logstack/promtail/mounts.py"'
    views = '"links:/var/log" "owned:/var/lib/docker/containers"'
    mount = f'{script} "mount" "/run/logstack/promtail" "logstack-promtail" {views}'
    assert f"ExecStartPre=+{mount}\n" in unit
    assert f'ExecStopPost=+{script} "unmount" "/run/logstack/promtail"\n' in unit
    assert 'BindReadOnlyPaths="-/run/logstack/promtail/var/log":"/var/log"' in unit
    assert "MOVE_MOUNT" in text_of(plan, "/etc/logstack/promtail/mounts.py")


def test_log_folders_belong_to_the_group_of_the_agent(tmp_path: Path) -> None:
    """Files of the former agent's group as well, which the new one could not read."""
    plan = plans(tmp_path, "staging", **PROMTAIL)["app-1"]
    files = {file.path: file.text for file in plan.files}
    folders = files["/etc/tmpfiles.d/logstack.conf"]
    assert "d /var/log/erp-backend-api 2750 erp logstack-promtail -" in folders
    assert "z- /var/log/erp-backend-api/* - - logstack-promtail -" in folders
    assert "create 0640 erp logstack-promtail" in files["/etc/logstack/logrotate.conf"]


@pytest.mark.parametrize("agent", ["otelcol", "promtail"])
def test_the_gateway_takes_records_of_every_agent(tmp_path: Path, agent: str) -> None:
    """While the agent is changed, hosts that still have the former one lose no record."""
    sections = {**PROMTAIL, "stack": {"engine": "loki", "agent": agent}}
    caddyfile = text_of(
        plans(tmp_path, "staging", **sections)["logs-1"], "/etc/logstack/gateway/Caddyfile"
    )
    for path in ("/otlp/v1/logs", "/loki/api/v1/push"):
        assert f"path {path}\n" in caddyfile
        assert f"rewrite * {path}?\n" in caddyfile
    assert "@agent path /loki/api/v1/push /otlp/v1/logs\n" in caddyfile
    assert caddyfile.count("app-1 $2b$") == 2


def test_the_plan_notes_what_promtail_loses(tmp_path: Path) -> None:
    """With the address that it depends on; the collector has no such limit."""
    assert {plan.notes for plan in plans(tmp_path, "staging").values()} == {()}
    lost, journal = plans(tmp_path, "staging", **PROMTAIL)["app-1"].notes
    assert "has no queue on disk" in lost
    assert "https://logs-1.staging.example.net:21019/loki/api/v1/push is unavailable" in lost
    assert "1 MB" in lost
    assert "otelcol keeps 1GiB on disk (limits.queue)" in lost
    assert "promtail_journal_enabled" in journal
    without = plans(tmp_path, "staging", **PROMTAIL, app_hosts={"journal": False})["app-1"].notes
    assert len(without) == 1
    assert "journald" not in without[0]


def test_the_plan_notes_that_promtail_knows_one_log_server(tmp_path: Path) -> None:
    """Unless a name leads to all of them."""
    notes = plans(tmp_path, "prod", **PROMTAIL)["app-1"].notes
    assert "promtail sends to one of 3 log servers" in notes[1]
    named = {**PROMTAIL, "gateway": {"name": "logs.example.net"}}
    plan = plans(tmp_path, "prod", **named)["app-1"]
    assert not any("log servers" in note for note in plan.notes)
    (client,) = config_of(plan)["clients"]
    assert client["url"].startswith("https://logs.example.net:")


def test_promtail_without_loki_is_refused(tmp_path: Path) -> None:
    """It speaks Loki's protocol only, so it never has several VictoriaLogs to write to."""
    with pytest.raises(SettingsError, match="promtail ships to loki only"):
        plans(tmp_path, "prod", stack={"agent": "promtail"})
