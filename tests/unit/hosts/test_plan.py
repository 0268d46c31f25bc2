"""What a plan says of each host."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioning import changes
from provisioning.operations.host_files import FILE_HOOKS
from stack.archive import on_host
from stack.hosts import HostsError, firewall, log_files, secrets
from stack.hosts.gateway import certificate_command
from stack.hosts.plan import plan_for, set_password_script
from stack.monitor.network import WRONG_PASSWORD
from stack.settings.secrets import ARCHIVE_SECRETS
from tests.support.example import PORTS
from tests.support.host_plans import names, plans, text_of, values_of


def test_staging_has_one_log_server_and_agents(tmp_path: Path) -> None:
    """The engine comes first, the agent last, which ships the log server's own records too."""
    found = {name: names(plan) for name, plan in plans(tmp_path, "staging").items()}
    assert found == {
        "logs-1": [
            *("victorialogs", "seaweedfs", "archiver", "alertmanager", "vmalert", "gateway"),
            *("monitor", "otelcol"),
        ],
        "app-1": ["monitor", "otelcol"],
        "app-2": ["monitor", "otelcol"],
    }


def test_the_same_values_give_the_same_plan(tmp_path: Path) -> None:
    """A second deploy has nothing to do."""
    assert plans(tmp_path, "prod") == plans(tmp_path, "prod")


def test_only_the_gateway_and_clusters_listen_outside(tmp_path: Path) -> None:
    """Every other address in a command line is of loopback."""
    (plan,) = [p for n, p in plans(tmp_path, "staging").items() if n == "logs-1"]
    for component in plan.components:
        command = next(x for x in component.unit.text.splitlines() if x.startswith("ExecStart="))
        assert "0.0.0.0" not in command  # noqa: S104
        if component.name not in ("archiver", "monitor"):
            assert component.health.startswith("http://127.0.0.1:")
    assert "https://logs-1.staging.example.net:21019 {" in text_of(
        plan, "/etc/logstack/gateway/Caddyfile"
    )


def test_the_engine_keeps_the_margin_where_days_wait_for_their_archive(tmp_path: Path) -> None:
    """Beside the archiver; the other servers of VictoriaLogs let a day go after hot_days."""
    retention = {"hot_days": 21, "margin_days": 7}
    found = plans(tmp_path, "prod", retention=retention)
    for name, days in (("logs-1", 28), ("logs-2", 21)):
        unit = text_of(found[name], "/etc/systemd/system/logstack-victorialogs.service")
        assert f"-retentionPeriod={days}d" in unit


def test_the_archiver_restarts_for_its_own_values_alone(tmp_path: Path) -> None:
    """Its settings are those that it uses; a change of others gives the same file."""
    path = "/etc/logstack/archiver/settings.json"
    before = text_of(plans(tmp_path, "staging")["logs-1"], path)
    others = {"agent": {"flush_interval": "1s"}, "limits": {"queue": "2GiB"}}
    assert text_of(plans(tmp_path, "staging", **others)["logs-1"], path) == before
    assert text_of(plans(tmp_path, "staging", archive={"days": 30})["logs-1"], path) != before


def test_a_store_of_others_is_not_deployed_and_its_keys_are_given(tmp_path: Path) -> None:
    """Without them the plan says which are missing; the admin's may be."""
    archive = {"endpoint": "https://s3.example.net"}
    with pytest.raises(HostsError, match="secret archive_writer: expected a value"):
        plans(tmp_path, "staging", archive=archive)
    values = values_of("staging", archive=archive)
    given = {"archive_writer": "w:1", "archive_reader": "r:1"}
    known = {**secrets.read(tmp_path / "secrets.json", values, {}), **given}
    known.pop("archive_admin", None)
    plan = plan_for(values, known, "logs-1")
    assert "seaweedfs" not in names(plan)
    keys = json.loads(text_of(plan, "/etc/logstack/archiver/keys.json"))
    assert keys["LOGSTACK_ARCHIVE_WRITER"] == "w:1"
    assert keys["LOGSTACK_ARCHIVE_ADMIN"] == ""
    assert set(keys) == set(ARCHIVE_SECRETS)


def test_the_archiver_reads_back_the_settings_that_were_rendered(tmp_path: Path) -> None:
    """What a host opens is the archive that the settings describe."""
    plan = plans(tmp_path, "staging", archive={"tenant": "acme"}, retention={"hot_days": 3})[
        "logs-1"
    ]
    (component,) = (c for c in plan.components if c.name == "archiver")
    for file in component.files:
        (tmp_path / Path(file.path).name).write_text(file.text, encoding="utf-8")
    archive = on_host.open_archive(tmp_path)
    assert archive.tenant == "acme"
    assert archive.settings.retention.hot_days == 3
    assert archive.settings.ports.effective("victorialogs") == PORTS["victorialogs"]
    assert archive.folder == Path("/var/lib/logstack/archive")
    assert archive.records is None


def test_a_log_server_ships_its_own_journal(tmp_path: Path) -> None:
    """Nothing of applications, whose folders it does not have, and to every log server."""
    plan = plans(tmp_path, "prod", app_hosts={"journal": False, "docker_logs": True})["logs-2"]
    config = yaml.safe_load(text_of(plan, "/etc/logstack/otelcol/config.yaml"))
    assert list(config["receivers"]) == [f"journald/logs-{n}" for n in (1, 2, 3)]
    assert list(config["exporters"]) == [f"otlp_http/logs-{n}" for n in (1, 2, 3)]
    caddyfile = text_of(plan, "/etc/logstack/gateway/Caddyfile")
    assert "\t\t\tlogs-1 $2b$" in caddyfile


def test_grafana_is_deployed_where_it_is_asked_for(tmp_path: Path) -> None:
    """Behind the gateway, with the same data sources as anywhere; its password is in a file."""
    assert "grafana" not in names(plans(tmp_path, "staging")["logs-1"])
    plan = plans(tmp_path, "staging", stack={"grafana": "on"})["logs-1"]
    unit = text_of(plan, "/etc/systemd/system/logstack-grafana.service")
    assert "https://logs-1.staging.example.net:21019/grafana/" in unit
    assert "$__file{/etc/logstack/grafana/admin_password}" in unit
    (before,) = (x for x in unit.splitlines() if x.startswith("ExecStartPre="))
    assert "reset-admin-password --password-from-stdin" in before
    assert before.endswith('"/etc/logstack/grafana/admin_password"')
    assert "handle /grafana/* {" in text_of(plan, "/etc/logstack/gateway/Caddyfile")
    sources = yaml.safe_load(
        text_of(plan, "/etc/logstack/grafana/provisioning/datasources/logstack.yaml")
    )["datasources"]
    assert [source["name"] for source in sources] == ["VictoriaLogs", "Alertmanager"]
    assert any(f.path.startswith("/etc/logstack/grafana/dashboards/") for c in plan.components
               for f in c.files)  # fmt: skip


def test_secrets_are_in_files_of_mode_0600_and_nowhere_else(tmp_path: Path) -> None:
    """Neither in units nor in files that everybody reads."""
    found = plans(tmp_path, "prod")
    known = json.loads((tmp_path / "secrets.json").read_text(encoding="utf-8"))
    private = [v for k, v in known.items() if not k.startswith(("certificate_logs", "ca_cert"))]
    for plan in found.values():
        for component in plan.components:
            for file in (*component.files, component.unit):
                if not file.secret:
                    assert not any(value in file.text for value in private), file.path
                else:
                    assert (file.mode, file.owner) == ("0600", component.user)
        for file in plan.files:
            assert not any(value in file.text for value in private)


def test_every_agent_has_a_pipeline_for_each_victorialogs(tmp_path: Path) -> None:
    """One that is down shares neither a queue nor a position in a file with another."""
    text = text_of(plans(tmp_path, "prod")["app-1"], "/etc/logstack/otelcol/config.yaml")
    config = yaml.safe_load(text)
    exporters, pipelines = config["exporters"], config["service"]["pipelines"]
    assert pipelines == {
        f"logs/logs-{n}": {
            "receivers": [f"file_log/1_logs-{n}", f"journald/logs-{n}"],
            "exporters": [f"otlp_http/logs-{n}"],
        }
        for n in (1, 2, 3)
    }
    receivers = config["receivers"]
    assert sorted(receivers) == sorted(r for p in pipelines.values() for r in p["receivers"])
    assert receivers["file_log/1_logs-3"] == receivers["file_log/1_logs-1"]
    assert list(exporters) == [f"otlp_http/logs-{n}" for n in (1, 2, 3)]
    assert {e["sending_queue"]["queue_size"] for e in exporters.values()} == {1024**3}
    assert exporters["otlp_http/logs-2"]["headers"]["Authorization"] == (
        "${file:/etc/logstack/otelcol/authorization}"
    )


def test_an_agents_positions_stay_its_own_when_a_log_server_is_added(tmp_path: Path) -> None:
    """They have the name of the receiver, which has that of the log server."""
    text = text_of(plans(tmp_path, "staging")["app-1"], "/etc/logstack/otelcol/config.yaml")
    assert list(yaml.safe_load(text)["receivers"]) == ["file_log/1_logs-1", "journald/logs-1"]


def test_links_of_alerts_lead_through_the_gateway(tmp_path: Path) -> None:
    """Not to loopback, not to a file of the machine that deploys, and everywhere to the same."""
    rules = {
        name: text_of(plan, "/etc/logstack/vmalert/rules/logstack.yaml")
        for name, plan in plans(tmp_path, "prod").items()
        if name.startswith("logs")
    }
    assert rules["logs-2"] == rules["logs-3"]
    assert "ArchiveNeverRan" in rules["logs-1"]  # it is evaluated beside the archiver
    assert "ArchiveNeverRan" not in rules["logs-2"]
    assert "https://logs-1.example.net:21019/select/vmui/" in rules["logs-3"]
    assert "file://" not in rules["logs-3"]
    assert "127.0.0.1" not in rules["logs-3"]


def test_a_unit_is_hardened_and_has_only_the_rights_that_it_needs(tmp_path: Path) -> None:
    """An own user, one folder to write to, a capability only for a low port."""
    ports = {"ports": {**PORTS, "gateway": 443}}
    found = plans(tmp_path, "staging", **ports, app_hosts={"docker_logs": True})
    units = {c.name: c.unit.text for p in found.values() for c in p.components}
    for name, unit in units.items():
        # The archiver removes days from the engine's folder, the monitor sees what the agent sees.
        user = {"archiver": "victorialogs", "monitor": "otelcol"}.get(name, name)
        assert f"User=logstack-{user}\n" in unit
        folders = {"archiver": "archive /var/lib/logstack/victorialogs"}.get(name, name)
        assert f"ReadWritePaths=/var/lib/logstack/{folders}\n" in unit
        for line in ("ProtectSystem=strict", "NoNewPrivileges=yes", "PrivateTmp=yes"):
            assert f"\n{line}\n" in unit
    capabilities = {
        name: next(x for x in unit.splitlines() if x.startswith("AmbientCapabilities="))
        for name, unit in units.items()
    }
    assert capabilities == {
        "victorialogs": "AmbientCapabilities=",
        "seaweedfs": "AmbientCapabilities=",
        "archiver": "AmbientCapabilities=",
        "alertmanager": "AmbientCapabilities=",
        "vmalert": "AmbientCapabilities=",
        "gateway": "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        "monitor": "AmbientCapabilities=",
        "otelcol": "AmbientCapabilities=",
    }
    assert "MemoryMax=512M" in units["otelcol"]
    assert "GOMEMLIMIT=402653184" in units["otelcol"]  # three quarters, for Go alone
    assert "MemoryMax=75%" in units["victorialogs"]


def test_the_agent_sees_every_folder_of_log_files_through_a_mount(tmp_path: Path) -> None:
    """As far as a pattern is fixed, the outermost ones; none where it reads no file."""
    patterns = ["/srv/erp/logs/*.log", "/srv/erp/logs/old/*.log", "/srv/[ab]/x.log", "/opt/a/b.log"]
    files = [{"service": "erp-batch", "path": pattern} for pattern in patterns]
    found = plans(tmp_path, "staging", agent={"files": files}, app_hosts={"docker_logs": True})
    unit = text_of(found["app-1"], "/etc/systemd/system/logstack-otelcol.service")
    bound = re.findall(r'^BindReadOnlyPaths="-(.*)"$', unit, re.MULTILINE)
    folders = ["/opt/a", "/srv", "/var/log", "/var/lib/docker/containers"]
    assert bound == [f'/run/logstack/otelcol{item}":"{item}' for item in folders]
    assert '"links:/srv" "links:/var/log" "owned:/var/lib/docker/containers"' in unit
    assert "\nTemporaryFileSystem=/var/lib/docker:ro,mode=0755\n" in unit
    found = plans(tmp_path, "staging")
    unit = text_of(found["logs-1"], "/etc/systemd/system/logstack-otelcol.service")
    assert "BindReadOnlyPaths" not in unit
    assert "ExecStartPre" not in unit


def test_a_pattern_without_a_folder_is_refused(tmp_path: Path) -> None:
    """A mount over everything would take the host's own links from the agent."""
    files = [{"service": "erp-batch", "path": "/*/erp.log"}]
    with pytest.raises(HostsError, match=r"agent\.files: expected .* got /\*/erp\.log"):
        plans(tmp_path, "staging", agent={"files": files})


def test_an_application_host_rotates_by_renaming(tmp_path: Path) -> None:
    """A handler that watches its file survives it; nothing is copied and cut."""
    plan = plans(tmp_path, "staging", app_hosts={"docker_logs": True})["app-1"]
    files = {file.path: file.text for file in plan.files}
    rotation = files["/etc/logstack/logrotate.conf"]
    assert "/var/log/erp-backend-api/*.log {" in rotation
    assert "create 0640 erp logstack-otelcol" in rotation
    assert "copytruncate" not in rotation
    folders = files["/etc/tmpfiles.d/logstack.conf"]
    assert "d /var/log/erp-backend-api 2750 erp logstack-otelcol -" in folders
    assert "SystemMaxUse=1073741824" in files["/etc/systemd/journald.conf.d/logstack.conf"]
    docker = json.loads(files["/etc/docker/daemon.json"])
    assert docker["log-opts"] == {
        "max-size": "52428800",
        "max-file": "5",
        "labels": "logstack.service",
    }


def test_every_file_of_a_host_can_leave_its_plan(tmp_path: Path) -> None:
    """It is known to be Logstack's alone, and how it is taken out of force; but for Docker's."""
    servers = {
        f"logs-{n}": {"address": f"10.0.0.{n}", "roles": ["log_server", "alerting", "app_host"]}
        for n in (1, 2)
    }
    sections: dict[str, Any] = {"hosts": servers, "app_hosts": {"docker_logs": True}}
    app = {"service": "erp", "user": "erp"}
    sections["app_hosts"]["apps"] = [app]
    paths = {file.path for file in plans(tmp_path, "staging", **sections)["logs-1"].files}
    assert paths == {*changes.OWNED, "/etc/docker/daemon.json"} - set(log_files.EARLIER)
    assert paths == set(FILE_HOOKS)


def test_a_log_server_alone_has_no_files_of_applications(tmp_path: Path) -> None:
    """Its Docker is left as it is; its journal, which is shipped, has a limit."""
    paths = [file.path for file in plans(tmp_path, "staging")["logs-1"].files]
    assert paths == ["/etc/systemd/journald.conf.d/logstack.conf", *firewall.PATHS]


def test_grafanas_password_is_set_when_it_was_rotated_and_only_then(tmp_path: Path) -> None:
    """One that somebody set in Grafana stays until the next rotation; a failure is tried again."""
    state, password, said = tmp_path / "state", tmp_path / "password", tmp_path / "said"
    state.mkdir()
    program = tmp_path / "grafana"
    program.write_text(f'#!/bin/sh\n[ ! -e "{tmp_path}/broken" ] && cat >> "{said}"\n', "utf-8")
    program.chmod(0o755)

    def start() -> int:
        words = (str(state), str(program), str(tmp_path), str(password))
        argv = ["/bin/sh", "-c", set_password_script(), "sh", *words]
        return subprocess.run(argv, check=False).returncode

    password.write_text("first ", "utf-8")
    assert start() == 0  # Grafana makes its database now, with this password
    (state / "grafana.db").touch()
    assert start() == 0
    assert not said.exists()
    password.write_text("second ", "utf-8")
    (tmp_path / "broken").touch()
    assert start() != 0
    (tmp_path / "broken").unlink()
    assert [start(), start()] == [0, 0]
    assert said.read_text("utf-8") == "second "


def test_the_monitor_of_a_host_watches_what_runs_there(tmp_path: Path) -> None:
    """A log server its certificate, another host its clock against a log server's."""
    found = {
        name: json.loads(text_of(plan, "/etc/logstack/monitor/monitor.json"))
        for name, plan in plans(tmp_path, "staging").items()
    }
    for name, plan in plans(tmp_path, "staging").items():
        assert [program["name"] for program in found[name]["programs"]] == names(plan)
    address = "logs-1.staging.example.net:21019"
    assert (found["logs-1"]["certificates"], found["logs-1"]["clock"]) == ([address], "")
    assert (found["app-1"]["certificates"], found["app-1"]["clock"]) == ([], f"https://{address}/")
    assert found["app-1"]["apply"] == "make deploy ENV=staging"
    assert found["app-1"]["records"] == ""  # to the journal
    (server,) = found["app-1"]["servers"]
    assert server["url"].startswith(f"https://{address}/")
    assert server["user"] == "app-1"
    assert found["app-1"]["files"][0]["service"] == "erp-backend-api"
    assert found["app-1"]["logs"] == ["/var/log/journal", "/var/log/erp-backend-api"]


def test_a_monitor_writes_nothing_where_no_agent_reads_the_journal(tmp_path: Path) -> None:
    """A log server's always does. Only where Alertmanager is, it sends alerts itself."""
    found = plans(tmp_path, "staging", app_hosts={"journal": False})
    records = {
        name: json.loads(text_of(plan, "/etc/logstack/monitor/monitor.json"))["records"]
        for name, plan in found.items()
    }
    assert (records["logs-1"], records["app-1"]) == ("", "/dev/null")
    own = {name for name, plan in found.items() if "monitor/alerts.json" in str(plan)}
    assert own == {"logs-1"}
    alerts = json.loads(text_of(found["logs-1"], "/etc/logstack/monitor/alerts.json"))
    assert {alert["labels"]["host"] for alert in alerts} == {"logs-1"}


@pytest.mark.parametrize(
    ("tls", "command"),
    [
        (
            "own_ca",
            "./logstack secrets rotate staging certificate_logs-1 && make deploy ENV=staging",
        ),
        ("files", "make deploy ENV=staging # once gateway.certificate_file is a new one"),
        ("acme", "journalctl -u logstack-gateway"),
    ],
)
def test_a_new_certificate_comes_from_where_the_old_one_did(tls: str, command: str) -> None:
    values = values_of("staging", gateway={"tls": tls})
    assert certificate_command(values, "logs-1") == command


def test_the_monitor_knows_what_the_gateway_says_of_a_wrong_password(tmp_path: Path) -> None:
    """In place of a 401, which agents take for final."""
    text = text_of(plans(tmp_path, "staging")["logs-1"], "/etc/logstack/gateway/Caddyfile")
    assert re.search(rf'respond "{WRONG_PASSWORD}[^"]*" 503', text)
