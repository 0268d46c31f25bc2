"""plan_for(settings, secrets, host): every file, unit and check of one host. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from stack.alerting.files import SECRETS, alert_files
from stack.archive.on_host import KEYS_FILE, archiver_files
from stack.artifacts import host_programs as programs
from stack.components import catalogue as components
from stack.components.component import Artifact
from stack.components.grafana_files import grafana_files
from stack.components.loki import render_loki
from stack.components.otelcol import render_otelcol
from stack.components.seaweedfs import render_seaweedfs
from stack.engines.kinds import kind_of
from stack.hosts import HostsError, agent_view
from stack.hosts import log_files as app_logging
from stack.hosts import roles as fleet
from stack.hosts.cluster import cluster_files
from stack.hosts.files import PYTHON, HostFile
from stack.hosts.firewall import firewall_files
from stack.hosts.gateway import (
    GRAFANA_PATH,
    basic_authorization,
    certificate_files,
    render_caddyfile,
)
from stack.hosts.secrets import (
    ARCHIVE_KEYS,
    CA_CERTIFICATE,
    GRAFANA_ADMIN,
    LOKI_STORAGE,
    secret,
    writer_secret,
)
from stack.hosts.systemd import render_unit
from stack.settings import ROOT, Settings
from stack.settings.hosts import Role
from stack.settings.targets import Target
from stack.settings.targets import host as host_target


@dataclass(frozen=True)
class HostComponent:
    """One service of a host, `logstack-<name>.service`.

    Its binary is /opt/logstack/<artifact>/<version>/<binary>. `check` runs before anything is
    replaced: `{binary}`, `{folder}` and `{config}` stand for the new binary, its folder and the
    folder with the new configuration. Without a `health` address it is healthy while it runs.
    `serial`: one host at a time.
    """

    name: str
    artifact: str | None
    version: str
    user: str
    directories: tuple[tuple[str, str], ...]
    files: tuple[HostFile, ...]
    unit: HostFile
    check: tuple[str, ...]
    health: str
    serial: bool


@dataclass(frozen=True)
class HostPlan:
    """Everything that one host has. `files` belong to no component."""

    host: str
    roles: tuple[str, ...]
    components: tuple[HostComponent, ...]
    files: tuple[HostFile, ...]


OPT = "/opt/logstack"
# Its program on a host is the archive alone, which reads what it would start with.
ARCHIVER_CHECK = (PYTHON, "-I", "{folder}/lib", "check", "{config}")
GRAFANA_PASSWORD_FILE = "admin_password"  # noqa: S105 -- a file's name
# Grafana takes its variable for the password only when it makes its database. Where there is one
# and the file is not what was set last, its own command sets it, from standard input.
GRAFANA_BEFORE = (
    '[ -e "$1/grafana.db" ] || { sha256sum "$4" > "$1/password.sha256"; exit; }; '
    'sha256sum --status --check "$1/password.sha256" 2>/dev/null || {'
    ' "$2" cli --homepath="$3" admin reset-admin-password --password-from-stdin < "$4"'
    ' && sha256sum "$4" > "$1/password.sha256"; }'
)


@dataclass(frozen=True)
class _Context:
    """What the files of a component are made from."""

    settings: Settings
    target: Target
    secrets: Mapping[str, str]
    host: str
    alerts: Mapping[str, str] = field(default_factory=dict)


def plan_for(settings: Settings, secrets: Mapping[str, str], host: str) -> HostPlan:
    """Raises HostsError and AlertError, which name what is missing."""
    if settings.stack.agent != "otelcol":
        raise HostsError(
            f"stack.agent: wanted otelcol on hosts, found {settings.stack.agent}: the other knows "
            "no queue on disk"
        )
    fleet.host_named(settings, host)
    roles = fleet.roles_of(settings, host)
    plain = host_target(
        settings,
        host,
        fleet.destinations(settings, host, Path("/etc/logstack/otelcol")),
        fleet.cluster_of(settings, host, "alerting"),
        fleet.people_url(settings),
        archived=fleet.is_archived(settings, host),
        runs_apps="app_host" in roles,
        runs_engine="log_server" in roles,
    )
    context = _Context(
        settings=plain.settings,
        target=plain,
        secrets=secrets,
        host=host,
        alerts=alert_files(plain) if "alerting" in roles else {},
    )
    names = component_names(settings, host)
    return HostPlan(
        host=host,
        roles=roles,
        components=tuple(_component(name, context) for name in names),
        files=(
            *app_logging.host_files(settings, runs_apps="app_host" in roles),
            *_firewall(settings, host),
        ),
    )


def _firewall(settings: Settings, host: str) -> tuple[HostFile, ...]:
    role: Role = "log_server" if kind_of(settings).is_cluster else "alerting"
    return firewall_files(settings, fleet.cluster_of(settings, host, role))


def component_names(settings: Settings, host: str) -> tuple[str, ...]:
    """The services of a host, in the order in which they are deployed: the engine first."""
    roles = fleet.roles_of(settings, host)
    engine = kind_of(settings)
    names: list[str] = []
    if "log_server" in roles:
        names += [engine.name]
    if "archive" in roles:
        names += [*([] if settings.archive.endpoint else ["seaweedfs"]), "archiver"]
    if "alerting" in roles:
        names += ["alertmanager"]
        names += [engine.evaluator] if engine.evaluator not in names else []
    if "dashboards" in roles and fleet.runs_grafana(settings):
        names += ["grafana"]
    if "log_server" in roles:
        names += ["gateway"]
    return (*names, "otelcol")


@dataclass(frozen=True)
class _Start:
    """How a component is started, and how its health is asked for."""

    argv: list[str]
    env: Mapping[str, str]
    health: str
    before: Sequence[str] = ()


def _start(name: str, context: _Context, folder: str, program: str) -> _Start:
    """`folder` has the version in use, `program` is the first of its files."""
    target = context.target
    if name == "archiver":
        return _Start([PYTHON, "-I", f"{folder}/lib", "run"], {"PYTHONUNBUFFERED": "1"}, "")
    component = components.by_name(name)
    argv, env = component.argv(target), component.env(target)
    health = component.health_url(target)
    if name == "grafana":
        home = f"{folder}/lib"
        grafana = f"{home}/bin/grafana"
        password = target.config_dir(name) / GRAFANA_PASSWORD_FILE
        known = (str(target.storage_dir(name)), grafana, home, str(password))
        return _Start(
            [grafana, *argv, f"--homepath={home}"],
            {**env, **_grafana_variables(context)},
            health,
            before=("/bin/sh", "-c", GRAFANA_BEFORE, "sh", *known),
        )
    return _Start([f"{folder}/{program}", *argv], env, health)


def _grafana_variables(context: _Context) -> dict[str, str]:
    """Below the gateway's address, and with a password that no process list shows."""
    target = context.target
    own = fleet.gateway_url(
        context.settings, context.settings.hosts[context.host].address, GRAFANA_PATH
    )
    path = target.config_dir("grafana") / GRAFANA_PASSWORD_FILE
    return {
        "GF_SERVER_ROOT_URL": context.settings.alerts.grafana_url or f"{own}/",
        "GF_SERVER_SERVE_FROM_SUB_PATH": "true",
        "GF_SECURITY_ADMIN_PASSWORD": f"$__file{{{path}}}",
    }


def _component(name: str, context: _Context) -> HostComponent:
    target, settings = context.target, context.settings
    is_archiver = name == "archiver"
    # It removes days from the engine's folder, which are the engine's user's alone.
    user = f"logstack-{settings.stack.engine if is_archiver else name}"
    texts, private = FILES_OF[name](context)
    artifact = _artifact(name, settings)
    start = _start(name, context, f"{OPT}/{artifact.name}/current", artifact.binaries[0])
    state_dir = str(target.archive_dir if is_archiver else target.storage_dir(name))
    writable = [str(target.storage_dir(settings.stack.engine))] if is_archiver else []
    files = [
        HostFile(
            path=str(target.run_dir / path),
            text=text,
            mode="0600" if path in private else "0644",
            owner=user if path in private else "root",
            secret=path in private,
        )
        for path, text in texts.items()
    ]
    return HostComponent(
        name=name,
        artifact=artifact.name,
        version=artifact.key,
        user=user,
        directories=((state_dir, "0700"),),
        files=tuple(files),
        unit=render_unit(
            name, user, start.argv, start.env, [state_dir, *writable], target, start.before
        ),
        check=ARCHIVER_CHECK if is_archiver else components.by_name(name).check,
        health=start.health,
        serial=name != "otelcol",
    )


def _artifact(name: str, settings: Settings) -> Artifact:
    """What hosts get of a component: a bundle for some, static programs for others."""
    known = programs.catalogue(settings)
    program = components.by_name(name).program
    return known[program(settings).name if program else name]


Texts = tuple[dict[str, str], set[str]]
"""Files below /etc/logstack, and which of them are secret."""


def _otelcol(context: _Context) -> Texts:
    target, settings = context.target, context.settings
    password = secret(context.secrets, writer_secret(context.host))
    files = {
        "otelcol/config.yaml": render_otelcol(target),
        # Without a newline: it would be a part of the header.
        "otelcol/authorization": basic_authorization(context.host, password),
    }
    if agent_view.views(target):
        files["otelcol/mounts.py"] = agent_view.script()
    if settings.gateway.tls == "own_ca":
        files["otelcol/ca.pem"] = secret(context.secrets, CA_CERTIFICATE)
    return files, {"otelcol/authorization"}


def _gateway(context: _Context) -> Texts:
    certificates = certificate_files(context.settings, context.host, context.secrets, ROOT)
    text = render_caddyfile(context.target, context.host, context.secrets)
    files = {"gateway/Caddyfile": text}
    files |= {f"gateway/{name}": pem for name, pem in certificates.items()}
    return files, set(files)


def _alertmanager(context: _Context) -> Texts:
    files = {p: text for p, text in context.alerts.items() if p.startswith("alertmanager/")}
    private = {path for path in files if path.startswith(f"{SECRETS}/")}
    cluster, keys = cluster_files("alertmanager", context.target, context.host, context.secrets)
    return {**files, **cluster}, private | keys


def _vmalert(context: _Context) -> Texts:
    return {p: text for p, text in context.alerts.items() if p.startswith("vmalert/")}, set()


def _loki(context: _Context) -> Texts:
    members = fleet.with_role(context.settings, "log_server")
    members_of_ring = fleet.cluster_of(context.settings, context.host, "log_server")
    target = replace(context.target, cluster=members_of_ring)
    if len(members) == 2:
        raise HostsError(
            "hosts: wanted one log server or at least three with stack.engine = loki, which "
            f"replicates by three, found {' and '.join(members)}"
        )
    if len(members) > 1 and not context.settings.loki_storage.bucket:
        raise HostsError(
            "loki_storage.bucket: wanted an object store that all log servers share, found none. "
            "Set the table [loki_storage], or stack.engine = victorialogs"
        )
    storage = ""
    if context.settings.loki_storage.bucket:
        storage = secret(context.secrets, LOKI_STORAGE)
    files = render_loki(target, storage)
    files |= {p: text for p, text in context.alerts.items() if p.startswith("loki/")}
    cluster, keys = cluster_files("loki", target, context.host, context.secrets)
    private = keys | ({"loki/config.yaml"} if storage else set())
    return {**files, **cluster}, private


def _seaweedfs(context: _Context) -> Texts:
    files = render_seaweedfs(context.target, _archive_keys(context))
    return files, set(files)


def _archiver(context: _Context) -> Texts:
    files = archiver_files(context.settings, _archive_keys(context))
    return {f"archiver/{name}": text for name, text in files.items()}, {f"archiver/{KEYS_FILE}"}


def _archive_keys(context: _Context) -> dict[str, str]:
    """By variable. Of a store of others the writer's is enough (docs/archive.md)."""
    given = context.settings.archive.endpoint
    optional = {"LOGSTACK_ARCHIVE_READER", "LOGSTACK_ARCHIVE_ADMIN"} if given else set()
    return {
        variable: context.secrets.get(name, "")
        if variable in optional
        else secret(context.secrets, name)
        for variable, name in ARCHIVE_KEYS.items()
    }


def _grafana(context: _Context) -> Texts:
    path = f"grafana/{GRAFANA_PASSWORD_FILE}"
    files = grafana_files(context.target)
    return {**files, path: secret(context.secrets, GRAFANA_ADMIN)}, {path}


FILES_OF: Mapping[str, Callable[[_Context], Texts]] = {
    "victorialogs": lambda context: ({}, set()),
    "loki": _loki,
    "seaweedfs": _seaweedfs,
    "archiver": _archiver,
    "grafana": _grafana,
    "alertmanager": _alertmanager,
    "vmalert": _vmalert,
    "gateway": _gateway,
    "otelcol": _otelcol,
}
