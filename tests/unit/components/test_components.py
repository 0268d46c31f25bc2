"""The command line, the variables and the addresses of every component."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stack.components import catalogue as components
from stack.components import grafana
from stack.components.catalogue import CATALOGUE, by_name, selected
from stack.components.log_sources import import_window, window
from stack.settings import SettingsError
from stack.settings.targets import docker, host, native
from tests.support.example import PORTS, settings_with, target_in

ARCHIVE = "restored seaweedfs archiver"
COMMON_OF_VICTORIALOGS = [
    "-storage.minFreeDiskSpaceBytes=67108864",
    "-search.maxQueryDuration=10m",
    "-defaultMsgValue=(empty message)",
    "-insert.maxLineSizeBytes=2MiB",
    "-insert.maxFieldsPerLine=1990",
    "-inmemoryDataFlushInterval=2s",
    "-http.maxGracefulShutdownDuration=12500ms",
    "-http.disableCORS",
    "-loggerFormat=json",
]
ARGV = {
    "victorialogs": [
        "-storageDataPath=/srv/stack/data/victorialogs",
        "-httpListenAddr=127.0.0.1:21001",
        *COMMON_OF_VICTORIALOGS,
        "-retentionPeriod=52d",
        "-maxBackfillAge=36h",
        "-futureRetention=2d",
    ],
    "loki": ["-config.file=/srv/stack/run/loki/config.yaml"],
    "otelcol": [
        "--config=/srv/stack/run/otelcol/config.yaml",
        "--feature-gates=stanza.synchronousLogEmitter",
    ],
    "promtail": ["-config.file=/srv/stack/run/promtail/config.yaml"],
    "alertmanager": [
        "--config.file=/srv/stack/run/alertmanager/alertmanager.yml",
        "--storage.path=/srv/stack/data/alertmanager",
        "--web.listen-address=127.0.0.1:21005",
        "--web.external-url=http://127.0.0.1:21005",
        "--web.route-prefix=/",
        "--enable-feature=receiver-name-in-metrics",
        "--cluster.listen-address=",
        "--log.format=json",
    ],
    "vmalert": [
        '-rule="/srv/stack/run/vmalert/rules/*.yaml"',
        "-rule.defaultRuleType=vlogs",
        "-datasource.url=http://127.0.0.1:21001",
        "-notifier.url=http://127.0.0.1:21005",
        "-httpListenAddr=127.0.0.1:21004",
        "-evaluationInterval=24h",
        "-external.url=http://127.0.0.1:21004",
        "-http.disableCORS",
        "-disableAlertgroupLabel",
        "-loggerFormat=json",
    ],
    "restored": [
        "-storageDataPath=/srv/stack/data/restored",
        "-httpListenAddr=127.0.0.1:21010",
        *COMMON_OF_VICTORIALOGS,
        "-retentionPeriod=100y",
        "-delete.enable",
    ],
    "seaweedfs": [
        "-logtostderr=true",
        "-config_dir=/srv/stack/run/seaweedfs",
        "server",
        "-disableHttp",
        "-dir=/srv/stack/data/seaweedfs",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *("-master.port=21013", "-master.port.grpc=21014"),
        *("-volume.port=21015", "-volume.port.grpc=21016"),
        *("-filer.port=21017", "-filer.port.grpc=21018"),
        *("-s3.port=21011", "-s3.port.grpc=21012"),
        *("-filer", "-filer.disableHttp", "-s3"),
        "-s3.allowedOrigins=http://127.0.0.1:21011",
        "-s3.config=/srv/stack/run/seaweedfs/s3.json",
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),
        "-filer.localSocket=/srv/stack/data/seaweedfs/filer.sock",
        "-s3.localSocket=/srv/stack/data/seaweedfs/s3.sock",
        *("-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false"),
        *("-master.peers=none", "-master.telemetry=false", "-master.volumeSizeLimitMB=1024"),
        "-master.garbageThreshold=0.000001",
        *("-volume.max=0", "-volume.preStopSeconds=1", "-volume.minFreeSpace=64MiB"),
    ],
    "archiver": ["-P", "-m", "stack.cli.main", "archive", "run", "--every-interval"],
    "monitor": ["-P", "-m", "stack.monitor", "run", "/srv/stack/run/monitor"],
    "sample_app": [
        "-P",
        "-m",
        "stack.sample_app",
        "serve",
        "--bind=127.0.0.1:21006",
        "--workers=3",
        "--threads=5",
        "--prepare",
    ],
    "traffic": ["-P", "-m", "stack.traffic.steady", "http://127.0.0.1:21006", "--rate=1.5"],
    "grafana": ["server"],
    "gateway": [
        "run",
        "--adapter=caddyfile",
        "--config=/srv/stack/run/gateway/Caddyfile",
    ],
}
VALUES: dict[str, dict[str, Any]] = {
    "retention": {"hot_days": 45, "margin_days": 7},
    "archive": {"lateness": "1d12h"},
    "limits": {"free_disk": "64MiB"},
    "timing": {"alert_interval": "1d", "stop_timeout": "25s", "flush_interval": "2s"},
    "sample_app": {"workers": 3, "threads": 5, "service": "shop", "traffic": 1.5},
    "stack": {"host": "host-1", "environment": "lab"},
    "agent": {"gc_percent": 250},
}
TARGET = target_in(Path("/srv/stack"), **VALUES)


@pytest.mark.parametrize("name", ARGV)
def test_a_component_is_started_with_exactly_these_arguments(name: str) -> None:
    """Every value of the settings that concerns it arrives, and nothing else is set."""
    assert by_name(name).argv(TARGET) == ARGV[name]


def test_every_component_is_in_the_table_above() -> None:
    """A new one is tested too."""
    assert [component.name for component in CATALOGUE] == list(ARGV)


@pytest.mark.parametrize(
    ("engine", "agent", "names"),
    [
        ("victorialogs", "otelcol", f"victorialogs otelcol alertmanager vmalert {ARCHIVE}"),
        ("loki", "otelcol", "loki otelcol alertmanager seaweedfs archiver"),
        ("loki", "promtail", "loki promtail alertmanager seaweedfs archiver"),
    ],
)
def test_the_settings_choose_the_components(engine: str, agent: str, names: str) -> None:
    """One engine, one agent, and a rule evaluator where the engine has none."""
    settings = settings_with(stack={"engine": engine, "agent": agent})
    found = [component.name for component in selected(settings)]
    assert found == [*names.split(), "monitor", "sample_app"]


@pytest.mark.parametrize(
    ("grafana", "natively", "in_containers"),
    [("auto", False, True), ("on", True, True), ("off", False, False)],
)
def test_grafana_runs_where_it_is_selected(
    grafana: str, natively: bool, in_containers: bool
) -> None:
    """By itself in containers only: natively it has to be installed."""
    settings = settings_with(stack={"grafana": grafana})
    for expected, inside in ((natively, False), (in_containers, True)):
        names = [component.name for component in selected(settings, in_containers=inside)]
        assert ("grafana" in names) is expected


def test_traffic_of_its_own_is_for_containers_and_can_be_switched_off() -> None:
    """Generated users must not appear among the records of a real application."""
    on, off = settings_with(), settings_with(sample_app={"traffic": 0})
    named = [
        [component.name for component in selected(values, in_containers=inside)]
        for values, inside in ((on, True), (on, False), (off, True))
    ]
    assert ["traffic" in names for names in named] == [True, False, False]


def test_grafana_finds_its_pages_beside_its_program(tmp_path: Path) -> None:
    """In a release they are; distribution packages put them elsewhere."""
    (tmp_path / "public").mkdir()
    argv = components.command(by_name("grafana"), TARGET, {"grafana": f"{tmp_path}/bin/grafana"})
    assert argv[1:] == ["server", f"--homepath={tmp_path}"]
    argv = components.command(by_name("grafana"), TARGET, {"grafana": "/nowhere/bin/grafana"})
    assert argv[1:] == ["server", "--homepath=/usr/share/grafana"]


def test_the_variables_of_a_component_are_exactly_these() -> None:
    """The collector's garbage collector, and what our own programs need besides secrets."""
    assert {c.name: c.env(TARGET) for c in CATALOGUE if c.env(TARGET)} == {
        "otelcol": {"GOGC": "250"},
        "gateway": {"HOME": "/srv/stack/data/gateway"},
        "archiver": {"LOGSTACK_PATHS__RUN": "/srv/stack", "LOGSTACK_PATHS__DATA": "/srv/stack"},
        "sample_app": {
            "LOGSTACK_SAMPLE_DATABASE": "/srv/stack/data/sample_app/erp.sqlite3",
            "LOGSTACK_SAMPLE_LOG_FILE": "/srv/stack/data/app-logs/shop.log",
            "LOGSTACK_SAMPLE_ENVIRONMENT": "lab",
            "LOGSTACK_SAMPLE_SERVICE": "shop",
        },
        "grafana": {
            "GF_SERVER_HTTP_ADDR": "127.0.0.1",
            "GF_SERVER_HTTP_PORT": "21023",
            "GF_SERVER_ROOT_URL": "http://127.0.0.1:21023",
            "GF_PATHS_DATA": "/srv/stack/data/grafana",
            "GF_PATHS_LOGS": "/srv/stack/data/grafana/log",
            "GF_PATHS_PLUGINS": "/srv/stack/data/grafana/plugins",
            "GF_PATHS_PROVISIONING": "/srv/stack/run/grafana/provisioning",
            **grafana.FIXED,
            "GF_PLUGINS_PREINSTALL_DISABLED": "false",
            "GF_PLUGINS_PREINSTALL": "victoriametrics-logs-datasource",
        },
    }


def test_health_is_asked_for_at_exactly_these_addresses() -> None:
    """Each answers 200 when the component is ready."""
    assert {c.name: c.health_url(TARGET) for c in CATALOGUE if c.port} == {
        "victorialogs": "http://127.0.0.1:21001/health",
        "loki": "http://127.0.0.1:21007/ready",
        "otelcol": "http://127.0.0.1:21002/",
        "promtail": "http://127.0.0.1:21009/ready",
        "alertmanager": "http://127.0.0.1:21005/-/ready",
        "vmalert": "http://127.0.0.1:21004/health",
        "restored": "http://127.0.0.1:21010/health",
        "seaweedfs": "http://127.0.0.1:21011/healthz",
        "sample_app": "http://127.0.0.1:21006/healthz",
        "grafana": "http://127.0.0.1:21023/api/health",
        "gateway": "http://127.0.0.1:21020/health",
    }


def test_every_port_of_the_settings_belongs_to_one_component() -> None:
    """Preflight and the table of addresses forget none; two of them are used on hosts alone."""
    used = [port for component in CATALOGUE for port in component.ports]
    used += ["alertmanager_cluster", "loki_memberlist"]
    assert sorted(used) == sorted(name for name in PORTS if name != "offset")


def test_a_command_begins_with_its_binary() -> None:
    """Components without an artifact run on this Python."""
    binaries = {"otelcol": "/cache/otelcol-logstack"}
    collector = components.command(by_name("otelcol"), TARGET, binaries)
    app = components.command(by_name("sample_app"), TARGET, binaries)
    assert collector == ["/cache/otelcol-logstack", *ARGV["otelcol"]]
    assert app == [sys.executable, *ARGV["sample_app"]]


def test_rules_are_found_below_a_folder_with_characters_of_patterns() -> None:
    """Brackets and stars in a path are literal, and a comma does not separate patterns."""
    target = target_in(Path("/srv/a [1], {b} *?"))
    assert by_name("vmalert").argv(target)[0] == (
        r'-rule="/srv/a \\[1\\], \\{b\\} \\*\\?/run/vmalert/rules/*.yaml"'
    )


def test_a_component_that_does_not_exist_is_a_key_error() -> None:
    """Callers check names from users first."""
    with pytest.raises(KeyError, match="kafka"):
        by_name("kafka")


def test_records_leave_early_only_where_somebody_looks_first(tmp_path: Path) -> None:
    """VictoriaLogs deletes where the archiver runs, and is refused where none does."""
    settings = settings_with(retention={"shorter": [{"level": "DEBUG", "days": 7}]})
    argv = by_name("victorialogs").argv
    assert "-delete.enable" in argv(native(settings))
    assert "-delete.enable" not in argv(target_in(tmp_path))
    for target in (docker(settings), host(settings, "logs-1")):
        with pytest.raises(SettingsError, match=r"retention\.shorter: expected Loki"):
            argv(target)


def test_only_an_archive_limits_how_old_imported_records_are() -> None:
    """It looks for late records no further back, and the engine refuses them then."""
    values = settings_with(retention={"hot_days": 30}, archive={"lateness": "7d"})
    argv = by_name("victorialogs").argv
    archived, unarchived = native(values), docker(values)
    assert import_window(archived) == window(archived)
    assert import_window(unarchived)[0] == timedelta(days=30) - timedelta(hours=1)
    assert "-maxBackfillAge=168h" in argv(archived)
    assert not [argument for argument in argv(unarchived) if "maxBackfillAge" in argument]
    assert window(unarchived) == window(archived)
