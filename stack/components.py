"""The catalogue: what each component is, how it is started and how its health is asked for.

Pure: `argv(target)` is the whole command line after the binary. The runtimes execute it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from stack.contract import OTLP_FIELDS
from stack.settings import ROOT, Settings, SettingsError
from stack.targets import Target
from stack.units import (
    go_duration,
    is_ip_address,
    join_host_port,
    parse_bytes,
    parse_duration,
    whole_hours,
)

ArgumentsOf = Callable[[Target], list[str]]
VariablesOf = Callable[[Target], dict[str, str]]
ArgumentsAt = Callable[[Path], list[str]]

# The fields that make a stream in VictoriaLogs; `level` is a field there, a label in Loki.
VL_STREAM_FIELDS = ("service_name", "environment", "host")
# OTLP adds these to every record; `level` says the same and the scope is always the collector's.
VL_IGNORED_FIELDS = OTLP_FIELDS
# The service_name of what the archiver reports; alert rules look for it.
ARCHIVER_SERVICE = "logstack-archiver"
# How far ahead of its own time an engine takes a record; and what clocks and ways may differ by.
AHEAD = {"victorialogs": timedelta(days=2), "loki": timedelta(days=1)}
CLOCKS = timedelta(hours=1)
RESTORED_RETENTION = "100y"
ARCHIVE_COMPONENTS = ("restored", "seaweedfs", "archiver")
# The tenants of Loki: what comes from the agents, and what comes back from the archive.
LOKI_TENANT = "main"
# Characters of a label's value, where agents cut it: with four bytes each half of Loki's limit.
LOKI_LABEL_LENGTH = 256
LOKI_RESTORED_TENANT = "restored"
# What VictoriaLogs stores where a record has no message; it cannot store an empty one.
VL_EMPTY_MESSAGE = "(empty message)"
# Grafana's plugin for VictoriaLogs; for Loki it has one itself.
VL_DATA_SOURCE = "victoriametrics-logs-datasource"


@dataclass(frozen=True)
class Component:
    """One program of the stack.

    `artifact` names what stack/artifacts obtains for it; None means that Python runs it.
    `port` is the name in settings.ports where people reach it, `health` the path there that
    answers 200 when it is ready; a component without a port is healthy while it runs.
    """

    name: str
    artifact: str | None
    port: str
    health: str
    argv: ArgumentsOf
    health_port: str = ""
    other_ports: tuple[str, ...] = ()
    env: VariablesOf = field(default=lambda target: {})
    argv_at: ArgumentsAt = field(default=lambda program: [])  # what depends on where the program is
    page: str = ""
    stop_seconds: int = 0  # after which it is killed when it stops; 0: settings.timing.stop_timeout

    def health_url(self, target: Target) -> str:
        return target.url(self.health_port or self.port, self.health)

    def page_url(self, target: Target) -> str:
        """The address worth opening, or where it listens; empty where it does not."""
        return "" if not self.port else target.url(self.port, self.page)

    @property
    def ports(self) -> tuple[str, ...]:
        """Every name in settings.ports that the component listens on."""
        return tuple(dict.fromkeys(filter(None, (self.port, *self.other_ports))))


def _victorialogs(target: Target) -> list[str]:
    """Raises SettingsError for retention.shorter where no archiver is there to see to it."""
    shorter = target.settings.retention.shorter
    if shorter and not target.has_archive:
        raise SettingsError(
            "retention.shorter: wanted Loki, or the native runtime, whose archiver deletes what is "
            "archived; found VictoriaLogs without one, which knows one time for all records. "
            "Set stack.engine = loki, or remove the setting"
        )
    return [
        *_victorialogs_at(target, "victorialogs"),
        f"-retentionPeriod={kept_days(target)}d",
        f"-maxBackfillAge={whole_hours(target.settings.archive.lateness)}h",
        f"-futureRetention={AHEAD['victorialogs'].days}d",
        *(["-delete.enable"] if shorter else []),
    ]


def kept_days(target: Target) -> int:
    """After how many days the engine itself deletes.

    Where there is an archiver, it drops a day after hot_days once its archive is verified, and the
    margin is the last resort; without one there is nothing to wait for.
    """
    retention = target.settings.retention
    return retention.hot_days + (retention.margin_days if target.has_archive else 0)


def window(target: Target) -> tuple[timedelta, timedelta]:
    """How far before and after now a record's own time may be; the agent replaces another one.

    A record waits while the engine is down: the engine and the archive take what is a day older.
    """
    lateness = parse_duration(target.settings.archive.lateness)
    kept = min(lateness, timedelta(days=target.settings.retention.hot_days))
    return kept - min(timedelta(days=1), kept / 4), AHEAD[target.settings.stack.engine] - CLOCKS


def _restored(target: Target) -> list[str]:
    return [*_victorialogs_at(target, "restored"), f"-retentionPeriod={RESTORED_RETENTION}"]


def _victorialogs_at(target: Target, name: str) -> list[str]:
    """What the engine and the one for restored records have in common."""
    settings = target.settings
    return [
        f"-storageDataPath={target.storage_dir(name)}",
        f"-httpListenAddr={target.listen(name)}",
        f"-storage.minFreeDiskSpaceBytes={parse_bytes(settings.limits.free_disk)}",
        f"-search.maxQueryDuration={go_duration(settings.limits.query)}",
        f"-defaultMsgValue={VL_EMPTY_MESSAGE}",
        "-insert.maxLineSizeBytes=2MiB",  # the hard limit of an entry; the agent splits below it
        "-insert.maxFieldsPerLine=2000",  # what a block may hold: a record with more is dropped
        "-http.disableCORS",
        "-loggerFormat=json",
    ]


def _loki(target: Target) -> list[str]:
    return [f"-config.file={target.config_dir('loki') / 'config.yaml'}"]


def _promtail(target: Target) -> list[str]:
    return [f"-config.file={target.config_dir('promtail') / 'config.yaml'}"]


def _otelcol(target: Target) -> list[str]:
    return [
        f"--config={target.config_dir('otelcol') / 'config.yaml'}",
        # Without it entries wait in memory after their file position was stored: a kill loses them.
        "--feature-gates=stanza.synchronousLogEmitter",
    ]


def _vmalert(target: Target) -> list[str]:
    rules = f"{as_pattern(target.config_dir('vmalert'))}/rules/*.yaml"
    return [
        # Quoted, because a comma would begin another pattern.
        f"-rule={json.dumps(rules, ensure_ascii=False)}",
        "-rule.defaultRuleType=vlogs",
        f"-datasource.url={target.peer('victorialogs')}",
        f"-notifier.url={target.peer('alertmanager')}",
        f"-httpListenAddr={target.listen('vmalert')}",
        f"-evaluationInterval={go_duration(target.settings.timing.alert_interval)}",
        f"-external.url={target.url('vmalert')}",
        "-disableAlertgroupLabel",  # labels are the same as those of Loki's ruler
        "-loggerFormat=json",
    ]


def _alertmanager(target: Target) -> list[str]:
    people_reach_it_at = target.settings.alerts.alertmanager_url or target.url("alertmanager")
    return [
        f"--config.file={target.config_dir('alertmanager') / 'alertmanager.yml'}",
        f"--storage.path={target.storage_dir('alertmanager')}",
        f"--web.listen-address={target.listen('alertmanager')}",
        f"--web.external-url={people_reach_it_at}",
        "--web.route-prefix=/",
        "--enable-feature=receiver-name-in-metrics",  # `logstack alerts send` reads them
        *_alertmanager_cluster(target),
        "--log.format=json",
    ]


def grafana_home(program: Path) -> list[str]:
    """Where a Grafana that is installed here has its web pages: beside it, or where packages do."""
    beside = program.resolve().parent.parent
    home = beside if (beside / "public").is_dir() else Path("/usr/share/grafana")
    return [f"--homepath={home}"]


def _grafana(target: Target) -> list[str]:
    """Its image's own entry point gives the arguments there."""
    return [] if target.in_containers else ["server"]


def grafana_env(target: Target) -> dict[str, str]:
    """Nobody but the administrator, whose password is a secret; nothing is sent to anybody."""
    storage = target.storage_dir("grafana")
    needs_plugin = target.settings.stack.engine == "victorialogs"
    return {
        "GF_SERVER_HTTP_ADDR": target.listen_host,
        "GF_SERVER_HTTP_PORT": str(target.port("grafana")),
        "GF_SERVER_ROOT_URL": target.settings.alerts.grafana_url or target.url("grafana"),
        "GF_PATHS_DATA": str(storage),
        "GF_PATHS_LOGS": str(storage / "log"),
        "GF_PATHS_PLUGINS": str(storage / "plugins"),
        "GF_PATHS_PROVISIONING": str(target.config_dir("grafana") / "provisioning"),
        "GF_LOG_MODE": "console",
        "GF_AUTH_ANONYMOUS_ENABLED": "false",
        "GF_USERS_ALLOW_SIGN_UP": "false",
        "GF_SECURITY_DISABLE_GRAVATAR": "true",
        "GF_SNAPSHOTS_EXTERNAL_ENABLED": "false",
        "GF_NEWS_NEWS_FEED_ENABLED": "false",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        # Others are not wanted. Without a network it goes on without this one, too.
        "GF_PLUGINS_PREINSTALL_DISABLED": "false" if needs_plugin else "true",
        **({"GF_PLUGINS_PREINSTALL": VL_DATA_SOURCE} if needs_plugin else {}),
    }


def _alertmanager_cluster(target: Target) -> list[str]:
    cluster = target.cluster
    if cluster is None:
        return ["--cluster.listen-address="]  # it would listen on every interface
    port = target.port("alertmanager_cluster")
    return [
        f"--cluster.listen-address=0.0.0.0:{port}",
        *(
            [f"--cluster.advertise-address={join_host_port(cluster.own_address, port)}"]
            if is_ip_address(cluster.own_address)
            else []  # it takes no name and finds its address itself
        ),
        *(f"--cluster.peer={join_host_port(peer, port)}" for peer in cluster.peers),
        f"--cluster.tls-config={target.config_dir('alertmanager') / cluster.tls_dir / 'tls.yml'}",
    ]


def _seaweedfs(target: Target) -> list[str]:
    """One process with SeaweedFS's four servers, all on loopback, without telemetry."""
    ports = target.settings.ports
    free = parse_bytes(target.settings.limits.free_disk)
    servers = {
        "master": "seaweedfs_master",
        "volume": "seaweedfs_volume",
        "filer": "seaweedfs_filer",
        "s3": "seaweedfs",
    }
    listen = [
        argument
        for server, port in servers.items()
        for argument in (
            f"-{server}.port={ports.effective(port)}",
            f"-{server}.port.grpc={ports.effective(f'{port}_grpc')}",
        )
    ]
    return [
        "-logtostderr=true",
        "server",
        f"-dir={target.storage_dir('seaweedfs')}",
        f"-ip={target.host}",
        f"-ip.bind={target.host}",
        *listen,
        "-filer",
        "-s3",
        f"-s3.config={target.config_dir('seaweedfs') / 's3.json'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-master.peers=none",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=1024",
        "-volume.max=0",  # as many volumes as the disk has room for
        "-volume.preStopSeconds=1",  # nobody has to be told that it goes: it is the only one
        f"-volume.minFreeSpace={max(1, free // 1024**2)}MiB",
    ]


def _archiver(target: Target) -> list[str]:
    return ["-P", "-m", "stack.cli.main", "archive", "run", "--every-interval"]


def archiver_env(target: Target) -> dict[str, str]:
    """The archiver reads the settings that the stack was started with from the run folder."""
    return {
        "LOGSTACK_PATHS__RUN": str(target.run_dir.parent),
        "LOGSTACK_PATHS__DATA": str(target.data_dir.parent),
    }


def _sample_app(target: Target) -> list[str]:
    app = target.settings.sample_app
    return [
        *("-P", "-m", "stack.sample_app", "serve"),
        f"--bind={target.listen('sample_app')}",
        f"--workers={app.workers}",
        f"--threads={app.threads}",
        "--prepare",
    ]


def _traffic(target: Target) -> list[str]:
    """In the network of the sample app's container: it only drives this machine's loopback."""
    rate = target.settings.sample_app.traffic
    return ["-P", "-m", "stack.steady_traffic", target.url("sample_app"), f"--rate={rate:g}"]


def sample_app_env(target: Target) -> dict[str, str]:
    """The variables, secrets apart, that every command of the sample app runs with."""
    return {
        "LOGSTACK_SAMPLE_DATABASE": str(target.storage_dir("sample_app") / "erp.sqlite3"),
        "LOGSTACK_SAMPLE_LOG_FILE": str(target.app_log_file),
        "LOGSTACK_SAMPLE_ENVIRONMENT": target.settings.stack.environment,
        "LOGSTACK_SAMPLE_SERVICE": target.settings.sample_app.service,
    }


CATALOGUE: tuple[Component, ...] = (
    Component(
        "victorialogs",
        "victorialogs",
        port="victorialogs",
        health="/health",
        argv=_victorialogs,
        page="/select/vmui/",
    ),
    Component("loki", "loki", "loki", "/ready", _loki, other_ports=("loki_grpc",)),
    Component(
        "otelcol",
        "otelcol",
        port="otelcol_health",
        health="/",
        argv=_otelcol,
        other_ports=("otelcol_metrics",),
        env=lambda target: {"GOGC": str(target.settings.agent.gc_percent)},
    ),
    Component("promtail", "promtail", "promtail", "/ready", _promtail),
    Component("alertmanager", "alertmanager", "alertmanager", "/-/ready", _alertmanager),
    Component("vmalert", "vmalert", "vmalert", "/health", _vmalert),
    Component("restored", "victorialogs", "restored", "/health", _restored, page="/select/vmui/"),
    Component(
        "seaweedfs",
        "seaweedfs",
        port="seaweedfs",
        health="/healthz",
        argv=_seaweedfs,
        other_ports=(
            "seaweedfs_grpc",
            *("seaweedfs_master", "seaweedfs_master_grpc"),
            *("seaweedfs_volume", "seaweedfs_volume_grpc"),
            *("seaweedfs_filer", "seaweedfs_filer_grpc"),
        ),
        # Its filer waits for ever for its own subscribers to leave. By then the volumes are closed,
        # and the filer's index is a write-ahead log.
        stop_seconds=6,
    ),
    Component("archiver", None, port="", health="", argv=_archiver, env=archiver_env),
    Component(
        "sample_app",
        None,
        port="sample_app",
        health="/healthz",
        argv=_sample_app,
        env=sample_app_env,
    ),
    Component("traffic", None, port="", health="", argv=_traffic),
    Component(
        "grafana",
        "grafana",
        port="grafana",
        health="/api/health",
        argv=_grafana,
        env=grafana_env,
        argv_at=grafana_home,
    ),
)


def selected(settings: Settings, *, in_containers: bool = False) -> tuple[Component, ...]:
    """The components that the settings ask for, in the order in which they are shown.

    Loki evaluates rules itself; beside VictoriaLogs vmalert does. What is restored goes to a second
    VictoriaLogs, or to another tenant of Loki. In containers there is no archive, and traffic of
    its own only there.
    """
    engine, agent = settings.stack.engine, settings.stack.agent
    unwanted = {"victorialogs", "vmalert", "loki", "otelcol", "promtail"} - {engine, agent}
    if engine == "victorialogs":
        unwanted.remove("vmalert")
    if engine == "loki":
        unwanted.add("restored")
    if in_containers:
        unwanted |= set(ARCHIVE_COMPONENTS)
    if not in_containers or not settings.sample_app.traffic:
        unwanted.add("traffic")
    if settings.stack.grafana == "off" or (settings.stack.grafana == "auto" and not in_containers):
        unwanted.add("grafana")
    return tuple(component for component in CATALOGUE if component.name not in unwanted)


def command(component: Component, target: Target, binaries: Mapping[str, str]) -> list[str]:
    """The whole command line. `binaries` maps an artifact's name to the path of its binary."""
    program = binaries[component.artifact] if component.artifact else sys.executable
    return [program, *component.argv(target), *component.argv_at(Path(program))]


def as_pattern(path: Path) -> str:
    """A path as a pattern of the collector and of vmalert that matches it and nothing else."""
    return re.sub(r"[*?\[\]{}\\]", r"\\\g<0>", str(path))


def by_name(name: str) -> Component:
    """The component called `name`. Raises KeyError."""
    return {component.name: component for component in CATALOGUE}[name]


__all__ = [
    "CATALOGUE",
    "ROOT",
    "Component",
    "as_pattern",
    "by_name",
    "command",
    "sample_app_env",
    "selected",
]
