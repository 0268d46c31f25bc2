"""Settings and a target to files: `{path below the run folder: text}`. The only user of Jinja2.

Pure: the runtimes write the files. A value that a template names and nobody gives is an error.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stack import agent_expressions as expressions
from stack import contract
from stack.components import (
    AHEAD,
    ARCHIVER_SERVICE,
    CATALOGUE,
    LOKI_LABEL_LENGTH,
    LOKI_RESTORED_TENANT,
    LOKI_TENANT,
    VL_IGNORED_FIELDS,
    VL_STREAM_FIELDS,
    as_pattern,
    command,
    kept_days,
    selected,
    window,
)
from stack.engines.logql import selector_of
from stack.secrets import GRAFANA_PASSWORD, SAMPLE_APP_SECRETS
from stack.settings import ROOT
from stack.settings_tables import FileSource
from stack.targets import Target
from stack.units import go_duration, is_ip_address, join_host_port, parse_bytes, parse_duration

TEMPLATES = Path(__file__).parent / "templates"
# supervisord takes ` #` and ` ;` for the start of a comment and cuts spaces at both ends.
UNREADABLE = re.compile(r"\s[#;]|^\s|\s$|[\x00-\x1f\x7f\ud800-\udfff]")


class RenderError(Exception):
    """A value cannot be written so that the program reads it back; the text says which."""


# In the certificate of every log server, whatever its address is.
CLUSTER_NAME = "log-server.logstack.internal"
# Where the agent's container sees Docker's json-file logs, and the label of the containers that it
# ships: its value is the service of lines that do not name one.
CONTAINER_LOGS = "/var/lib/docker/containers"
SERVICE_LABEL = "logstack.service"
# Lines that agents join to one record.
MOST_LINES = 10_000
# Characters of a line whose undecodable bytes stay U+FFFD, three bytes for one: with four bytes for
# each of them it is still an entry that VictoriaLogs takes (2 MiB). Beyond, each becomes `?`.
MOST_REPLACED = 480_000
# The secrets that a component gets as variables.
SECRETS_OF = {"sample_app": SAMPLE_APP_SECRETS, "grafana": (GRAFANA_PASSWORD,)}
# Text that belongs to the line before it: for Promtail, which cannot look at that line.
# The last of them is the one that ends a Python traceback: `ValueError: text`, `app.errors.Locked`.
CONTINUATION = (
    r"^(?P<continuation>\s|During handling of the above exception"
    r"|The above exception was the direct cause"
    r"|([a-z_]\w*\.)+[A-Z]\w*(: |$)|[A-Z][a-z0-9]+[A-Z]\w*(: |$))"
)


@dataclass(frozen=True)
class Source:
    """Something that the agent reads. `service` is that of lines which do not name one."""

    kind: Literal["file", "docker", "journal"]
    service: str
    path: str
    receiver: str = ""


# Where an engine takes records of the collector; on hosts the gateway lets them through.
INGESTION = {"victorialogs": "/insert/opentelemetry/v1/logs", "loki": "/otlp/v1/logs"}
# The agent's own unit on hosts.
AGENT_UNIT = "logstack-otelcol.service"


def render_native(
    target: Target,
    binaries: Mapping[str, str],
    secrets: Mapping[str, str],
    archive_secrets: Mapping[str, str],
) -> dict[str, str]:
    """The native runtime's files, but for alerts and Grafana. `secrets` are those of SECRETS_OF."""
    return {
        **render_components(target, archive_secrets),
        "supervisord.conf": render_supervisor(target, binaries, secrets),
    }


def render_components(target: Target, archive_secrets: Mapping[str, str]) -> dict[str, str]:
    """The files that the components of a target read, one folder per component."""
    everything: dict[str, Callable[[Target], dict[str, str]]] = {
        "loki": render_loki,
        "otelcol": lambda target: {"otelcol/config.yaml": render_otelcol(target)},
        "promtail": lambda target: {"promtail/config.yaml": render_promtail(target)},
        "seaweedfs": lambda target: {
            "seaweedfs/s3.json": render_seaweedfs(target, archive_secrets)
        },
    }
    files: dict[str, str] = {}
    for component in selected(target.settings, in_containers=target.in_containers):
        if component.name in everything:
            files |= everything[component.name](target)
    return files


def render_otelcol(target: Target) -> str:
    """The collector's configuration."""
    settings = target.settings
    sources = log_sources(target)
    return render_template(
        "otelcol/config.yaml.j2",
        settings=settings,
        target=target,
        storage=str(target.storage_dir("otelcol")),
        sources=sources,
        receivers=[source.receiver for source in sources],
        exporters=exporters(target),
        agent_unit=AGENT_UNIT,
        queue_bytes=parse_bytes(settings.limits.queue),
        stream_fields=VL_STREAM_FIELDS,
        ignored_fields=VL_IGNORED_FIELDS,
        levels=contract.LEVELS,
        kept=[*contract.names("metadata"), *contract.agent_fields(), "log.file.path"],
        loki_tenant=LOKI_TENANT,
        label_length=LOKI_LABEL_LENGTH,
        service_label=SERVICE_LABEL,
        most_lines=MOST_LINES,
        most_replaced=MOST_REPLACED,
        is_plain=expressions.is_plain(),
        has_no_reserved_name=expressions.has_no_reserved_name(),
        is_one_object=expressions.is_one_object(),
        as_fields=expressions.as_fields("resource.record"),
        in_window=expressions.in_window(*window(target)),
    )


def render_seaweedfs(target: Target, secrets: Mapping[str, str]) -> str:
    """The object store's users. What the writer may not do is in the bucket's own policy."""
    bucket = target.settings.archive.bucket
    rights = {
        "admin": ["Admin", "Read", "Write", "List", "Tagging"],
        "writer": [f"Write:{bucket}"],
        "reader": [f"Read:{bucket}", f"List:{bucket}"],
    }
    identities = []
    for role, actions in rights.items():
        key, _, secret = secrets[f"LOGSTACK_ARCHIVE_{role.upper()}"].partition(":")
        credentials = [{"accessKey": key, "secretKey": secret}]
        identities.append({"name": role, "credentials": credentials, "actions": actions})
    return json.dumps({"identities": identities}, indent=2) + "\n"


def render_promtail(target: Target) -> str:
    """Promtail's configuration."""
    return render_template(
        "promtail/config.yaml.j2",
        settings=target.settings,
        target=target,
        sources=log_sources(target),
        labels=contract.names("label"),
        metadata=contract.names("metadata"),
        levels=contract.LEVELS,
        loki_tenant=LOKI_TENANT,
        continuation=CONTINUATION,
        label_length=LOKI_LABEL_LENGTH,
        window=[f"{length.total_seconds():.0f}s" for length in window(target)],
        most_lines=MOST_LINES,
        service_label=SERVICE_LABEL,
    )


def render_loki(target: Target, storage_key: str = "") -> dict[str, str]:
    """Loki's configuration and its tenants' own limits. `storage_key`: `key:secret` of its S3."""
    settings = target.settings
    values: dict[str, Any] = {
        "settings": settings,
        "target": target,
        "storage": str(target.storage_dir("loki")),
        "config": str(target.config_dir("loki")),
        "labels": contract.names("label"),
        "tenant": LOKI_TENANT,
        "label_length": LOKI_LABEL_LENGTH,
        "storage_key": storage_key.partition(":"),
        "cluster_name": CLUSTER_NAME,
        "restored": LOKI_RESTORED_TENANT,
        "kept_days": kept_days(target),
        "shorter": loki_streams(target),
        "line": parse_bytes(settings.limits.line),
        "ahead": AHEAD["loki"].days * 24,
        "rate_mb": max(1, parse_bytes(settings.limits.ingestion_rate) // 1024**2),
    }
    return {
        "loki/config.yaml": render_template("loki/config.yaml.j2", **values),
        "loki/tenants.yaml": render_template("loki/tenants.yaml.j2", **values),
    }


def loki_streams(target: Target) -> list[dict[str, Any]]:
    """Streams that Loki keeps for fewer days by itself, the longest first.

    None where an archiver runs: it deletes such records once they are archived.
    """
    if target.has_archive:
        return []
    shorter = sorted(target.settings.retention.shorter, key=lambda kind: -kind.days)
    return [{"selector": selector_of(kind), "days": kind.days} for kind in shorter]


def exporters(target: Target) -> list[dict[str, str]]:
    """Where the collector sends to: the engine beside it, or the gateways of the log servers."""
    if not target.destinations:
        engine = target.settings.stack.engine
        url = target.peer(engine, INGESTION[engine])
        return [{"name": "otlp_http", "url": url, "authorization_file": "", "ca_file": ""}]
    return [
        {
            "name": f"otlp_http/{destination.name}",
            "url": destination.url,
            "authorization_file": destination.authorization_file,
            "ca_file": destination.ca_file,
        }
        for destination in target.destinations
    ]


def log_sources(target: Target) -> tuple[Source, ...]:
    """What the agent reads, numbered per kind."""
    files = [Source("file", file.service, file.path) for file in _log_files(target)]
    docker = Source("docker", "container", f"{CONTAINER_LOGS}/*/*-json.log")
    if target.in_containers:
        sources = [docker]
    else:
        has_docker = target.runs_apps and target.settings.app_hosts.docker_logs
        sources = [*files, *([docker] if has_docker else [])]
    numbered = [
        replace(source, receiver=f"file_log/{number}")
        for number, source in enumerate(sources, start=1)
    ]
    journal = [Source("journal", "journal", "", "journald")] if reads_journal(target) else []
    return (*numbered, *journal)


def reads_journal(target: Target) -> bool:
    """Log servers always do: the engine, the gateway and the archiver log there."""
    return target.runs_engine or (target.runs_apps and target.settings.app_hosts.journal)


def _log_files(target: Target) -> tuple[FileSource, ...]:
    """The applications' log files, those of the settings, the archiver's."""
    if target.on_host:
        apps = [
            FileSource(service=app.service, path=f"{app_log_dir(app.service)}/*.log")
            for app in (target.settings.app_hosts.apps if target.runs_apps else ())
        ]
        return (*apps, *target.settings.agent.files)
    # The path of a log file is a pattern; this one is meant as it is.
    path = as_pattern(target.app_log_file)
    sample_app = FileSource(service=target.settings.sample_app.service, path=path)
    files = (sample_app, *target.settings.agent.files)
    if "archiver" not in {component.name for component in selected(target.settings)}:
        return files
    archiver = FileSource(service=ARCHIVER_SERVICE, path=as_pattern(target.archiver_log_file))
    return (*files, archiver)


def app_log_dir(service: str) -> str:
    """Where an application of a host writes its log files."""
    return f"/var/log/{service}"


def render_supervisor(
    target: Target, binaries: Mapping[str, str], secrets: Mapping[str, str]
) -> str:
    """supervisord's configuration: one program per component."""
    stop_timeout = parse_duration(target.settings.timing.stop_timeout)
    stop_seconds = max(1, round(stop_timeout.total_seconds()))
    programs = [
        {
            "name": component.name,
            "argv": command(component, target, binaries),
            "env": {
                **component.env(target),
                **{name: secrets[name] for name in SECRETS_OF.get(component.name, ())},
            },
            "directory": ROOT,
            # Started in the catalogue's order and stopped the other way round: the engine last.
            "priority": CATALOGUE.index(component) + 1,
            "stop_seconds": component.stop_seconds or stop_seconds,
        }
        for component in selected(target.settings)
    ]
    return render_template(
        "supervisor/supervisord.conf.j2",
        target=target,
        programs=programs,
    )


def render_template(name: str, **values: Any) -> str:
    """One template's text. Raises jinja2.UndefinedError for a value that is not given."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 -- YAML and INI, quoted by the filters below
    )
    environment.tests["ip_address"] = is_ip_address
    environment.filters |= {
        "yaml": _yaml,
        "conf": _conf,
        "command": _command,
        "environment": _environment,
        "systemd": _systemd,
        "systemd_variable": _systemd_variable,
        "with_port": join_host_port,
        "duration": go_duration,
        "bytes": parse_bytes,
    }
    return environment.get_template(name).render(**values)


def _yaml(value: Any) -> str:
    """A YAML scalar or flow list: JSON is one, except that the collector expands `$` in it.

    Characters are written as they are, because YAML knows no pairs of `\\u` escapes.
    """
    text = json.dumps(value, ensure_ascii=False).replace("$", "$$")
    return re.sub(r"[\x7f-\x9f]", lambda match: f"\\x{ord(match[0]):02x}", text)


def _systemd(text: str) -> str:
    """One word of a command line in a unit."""
    return _systemd_variable(text).replace("$", "$$")


def _systemd_variable(text: str) -> str:
    """An assignment in a unit, where `$` stands for itself."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _conf(value: object) -> str:
    """Text in supervisord's configuration, where `%` begins an expansion. Raises RenderError."""
    text = str(value)
    if UNREADABLE.search(text):
        raise RenderError(
            f"wanted a path that supervisord can read, found {text!r}: there must be no ` #`, ` ;` "
            "or control character in it and no space at either end. Move the checkout, or set "
            "paths.run, paths.data and paths.cache to other folders"
        )
    return text.replace("%", "%%")


def _command(argv: list[str]) -> str:
    return _conf(shlex.join(argv))


def _environment(variables: Mapping[str, str]) -> str:
    """`NAME="value"` pairs for supervisord, which knows no escapes and strips quotes at the ends.

    Raises RenderError, which does not show the value: it may be a secret.
    """
    pairs = []
    for name, value in sorted(variables.items()):
        quote = "'" if '"' in value else '"'
        if quote in value or value.strip("'\"") != value or UNREADABLE.search(value):
            raise RenderError(
                f"{name}: wanted a value that supervisord can read: not with both kinds of quotes, "
                "a quote or space at either end, ` #`, ` ;` or a control character"
            )
        pairs.append(f"{name}={quote}{_conf(value)}{quote}")
    return ",".join(pairs)
