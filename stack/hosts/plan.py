"""plan_for(settings, secrets, host): every file, unit and check of one host. Pure."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stack.alerting.files import SECRETS, alert_files
from stack.archive.on_host import KEYS_FILE, archiver_files
from stack.artifacts import host_programs as programs
from stack.components import catalogue as components
from stack.components.component import Artifact, Component
from stack.components.grafana_files import grafana_files
from stack.components.log_sources import app_log_dir, reads_journal
from stack.components.loki import render_loki
from stack.components.monitor import plan_of
from stack.components.otelcol import render_otelcol
from stack.components.promtail import render_promtail
from stack.engines.kinds import kind_of
from stack.hosts import HostsError, agent_view, log_files, roles
from stack.hosts.cluster import cluster_files
from stack.hosts.files import PYTHON, HostFile
from stack.hosts.firewall import Loopback, firewall_files
from stack.hosts.gateway import (
    GRAFANA_PATH,
    basic_authorization,
    certificate_command,
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
from stack.monitor.plan import FILE, Server, to_text
from stack.render.templates import render_template
from stack.settings import ROOT, Settings
from stack.settings.hosts import Role
from stack.settings.targets import CONFIG_DIR, Target
from stack.settings.targets import host as host_target
from stack.settings.units import join_host_port


@dataclass(frozen=True)
class HostComponent:
    """One service of a host, `logstack-<name>.service`.

    Its binary is /opt/logstack/<artifact>/<version>/<binary>. `check` is its Component.check and
    runs before anything is replaced. Without a `health` address it is healthy while it runs.
    `serial`: deployed on one host at a time.
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
    """What Logstack puts on one host. `files` belong to no component.

    `notes` are what an operator should know before a deploy.
    """

    host: str
    roles: tuple[str, ...]
    components: tuple[HostComponent, ...]
    files: tuple[HostFile, ...]
    notes: tuple[str, ...] = ()


OPT = "/opt/logstack"
GRAFANA_PASSWORD_FILE = "admin_password"  # noqa: S105 -- a file's name


@dataclass(frozen=True)
class _Context:
    """What the files of a component are made from."""

    settings: Settings
    target: Target
    secrets: Mapping[str, str]
    host: str
    alerts: Mapping[str, str] = field(default_factory=dict)


def plan_for(settings: Settings, secrets: Mapping[str, str], host: str) -> HostPlan:
    """The plan of one host. Raises HostsError and AlertError, which name what is missing."""
    roles.find_host(settings, host)
    own_roles = roles.roles_of(settings, host)
    plain = host_target(
        settings,
        host,
        roles.destinations(settings, host, CONFIG_DIR / settings.stack.agent),
        roles.cluster_of(settings, host, "alerting"),
        roles.public_url(settings),
        archived=roles.is_archived(settings, host),
        runs_apps="app_host" in own_roles,
        runs_engine="log_server" in own_roles,
    )
    context = _Context(
        settings=plain.settings,
        target=plain,
        secrets=secrets,
        host=host,
        alerts=alert_files(plain) if "alerting" in own_roles else {},
    )
    names = component_names(settings, host)
    own = tuple(_component(name, context) for name in names)
    return HostPlan(
        host=host,
        roles=own_roles,
        components=own,
        files=(
            *log_files.host_files(settings, runs_apps="app_host" in own_roles),
            *(_firewall(settings, host, own) if "log_server" in own_roles else ()),
        ),
        notes=components.by_name(settings.stack.agent).notes(plain),
    )


def _firewall(settings: Settings, host: str, own: Sequence[HostComponent]) -> tuple[HostFile, ...]:
    role: Role = "log_server" if kind_of(settings).is_cluster else "alerting"
    listening = (components.by_name(component.name).ports for component in own)
    names = {name for ports in listening for name in ports} - {"gateway"}
    loopback = Loopback(
        ports=sorted(settings.ports.effective(name) for name in names),
        users=sorted({"root", *(component.user for component in own)}),
    )
    return firewall_files(settings, roles.cluster_of(settings, host, role), loopback)


def component_names(settings: Settings, host: str) -> tuple[str, ...]:
    """The services of a host, in the order in which they are deployed: the engine first."""
    own_roles = roles.roles_of(settings, host)
    engine = kind_of(settings)
    names: list[str] = []
    if "log_server" in own_roles:
        names += [engine.name]
    if "archive" in own_roles:
        names += [*([] if settings.archive.endpoint else ["seaweedfs"]), "archiver"]
    if "alerting" in own_roles:
        names += ["alertmanager"]
        names += [engine.evaluator] if engine.evaluator not in names else []
    if "dashboards" in own_roles and roles.runs_grafana(settings):
        names += ["grafana"]
    if "log_server" in own_roles:
        names += ["gateway"]
    return (*names, "monitor", settings.stack.agent)


@dataclass(frozen=True)
class _Start:
    """How a component is started, and the address of its health check."""

    argv: list[str]
    env: Mapping[str, str]
    health: str
    before: Sequence[str] = ()


def _start(name: str, context: _Context, folder: str, program: str) -> _Start:
    """`folder` holds the version in use, `program` is the first of its files."""
    target = context.target
    if name == "archiver":
        return _Start([PYTHON, "-I", f"{folder}/lib", "run"], {"PYTHONUNBUFFERED": "1"}, "")
    if name == "monitor":
        argv = [PYTHON, "-I", f"{folder}/lib", "run", str(target.config_dir(name))]
        return _Start(argv, {"PYTHONUNBUFFERED": "1"}, "")
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
            before=("/bin/sh", "-c", set_password_script(), "sh", *known),
        )
    return _Start([f"{folder}/{program}", *argv], env, health)


def set_password_script() -> str:
    """The shell program that runs before Grafana starts, on one line as a unit wants it."""
    return " ".join(render_template("grafana/set_password.sh.j2").split())


def _grafana_variables(context: _Context) -> dict[str, str]:
    """Grafana is served below the gateway's address and reads its password from a file."""
    target = context.target
    own = roles.gateway_url(
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
    component = components.by_name(name)
    is_archiver = name == "archiver"
    # The archiver deletes days from the engine's folder, so it runs as the engine's user; the
    # monitor sees log files with the agent's rights.
    users = {"archiver": settings.stack.engine, "monitor": settings.stack.agent}
    user = f"logstack-{users.get(name, name)}"
    texts, private = FILES_OF.get(name, _alert_files)(context, name)
    artifact = _artifact(component, settings)
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
        check=component.check,
        health=start.health,
        serial=name not in (settings.stack.agent, "monitor"),
    )


def _artifact(component: Component, settings: Settings) -> Artifact:
    """What hosts get of a component: a bundle for some, static programs for others."""
    program = component.program
    return programs.catalogue(settings)[program(settings).name if program else component.name]


Texts = tuple[dict[str, str], set[str]]
"""Files below /etc/logstack, and which of them are secret."""


def _otelcol(context: _Context, name: str) -> Texts:
    password = secret(context.secrets, writer_secret(context.host))
    # Without a newline, which would become part of the header.
    header = basic_authorization(context.host, password)
    return _agent(context, name, render_otelcol(context.target), header)


def _promtail(context: _Context, name: str) -> Texts:
    password = secret(context.secrets, writer_secret(context.host))
    return _agent(context, name, render_promtail(context.target), password)


def _agent(context: _Context, name: str, config: str, credential: str) -> Texts:
    files = {f"{name}/config.yaml": config, f"{name}/authorization": credential}
    if agent_view.views(context.target):
        files[f"{name}/{agent_view.SCRIPT_NAME}"] = agent_view.script()
    if context.settings.gateway.tls == "own_ca":
        files[f"{name}/ca.pem"] = secret(context.secrets, CA_CERTIFICATE)
    return files, {f"{name}/authorization"}


def _gateway(context: _Context, name: str) -> Texts:
    certificates = certificate_files(context.settings, context.host, context.secrets, ROOT)
    text = render_caddyfile(context.target, context.host, context.secrets)
    files = {"gateway/Caddyfile": text}
    files |= {f"gateway/{name}": pem for name, pem in certificates.items()}
    return files, set(files)


def _alert_files(context: _Context, name: str) -> Texts:
    """The files of stack/alerting that a component reads; none for most."""
    files = {path: text for path, text in context.alerts.items() if path.startswith(f"{name}/")}
    return files, {path for path in files if path.startswith(f"{SECRETS}/")}


def _alertmanager(context: _Context, name: str) -> Texts:
    files, private = _alert_files(context, name)
    cluster, keys = cluster_files(name, context.target, context.host, context.secrets)
    return {**files, **cluster}, private | keys


def _loki(context: _Context, name: str) -> Texts:
    members = roles.hosts_with_role(context.settings, "log_server")
    members_of_ring = roles.cluster_of(context.settings, context.host, "log_server")
    target = replace(context.target, cluster=members_of_ring)
    if len(members) == 2:
        raise HostsError(
            "hosts: expected one log server or at least three, because stack.engine is loki, which "
            f"keeps three copies, got {' and '.join(members)}"
        )
    if len(members) > 1 and not context.settings.loki_storage.bucket:
        raise HostsError(
            "loki_storage.bucket: expected a bucket that all log servers share, got none. "
            "Set the table [loki_storage], or stack.engine = victorialogs"
        )
    storage = ""
    if context.settings.loki_storage.bucket:
        storage = secret(context.secrets, LOKI_STORAGE)
    files = render_loki(target, storage)
    files |= _alert_files(context, name)[0]
    cluster, keys = cluster_files(name, target, context.host, context.secrets)
    private = keys | ({"loki/config.yaml"} if storage else set())
    return {**files, **cluster}, private


def _seaweedfs(context: _Context, name: str) -> Texts:
    files = components.by_name(name).files(context.target, _archive_keys(context))
    return files, set(files)


def _archiver(context: _Context, name: str) -> Texts:
    files = archiver_files(context.settings, _archive_keys(context))
    return {f"archiver/{name}": text for name, text in files.items()}, {f"archiver/{KEYS_FILE}"}


def _archive_keys(context: _Context) -> dict[str, str]:
    """By variable. With an external store the writer's key is enough (docs/archive.md)."""
    external = context.settings.archive.endpoint
    optional = {"LOGSTACK_ARCHIVE_READER", "LOGSTACK_ARCHIVE_ADMIN"} if external else set()
    return {
        variable: context.secrets.get(name, "")
        if variable in optional
        else secret(context.secrets, name)
        for variable, name in ARCHIVE_KEYS.items()
    }


def _monitor(context: _Context, name: str) -> Texts:
    settings, host = context.settings, context.host
    plan = plan_of(context.target, component_names(settings, host))
    port = settings.ports.effective("gateway")
    servers = roles.hosts_with_role(settings, "log_server")
    own = (join_host_port(settings.hosts[host].peer_address, port),) if host in servers else ()
    first = settings.hosts[servers[0]].peer_address
    apps = settings.app_hosts.apps if context.target.runs_apps else ()
    plan = replace(
        plan,
        # An entry of the journal that no agent reads would be of no use to anybody.
        records="" if reads_journal(context.target) else os.devnull,
        certificates=own,
        renew=certificate_command(settings, host),
        servers=tuple(
            Server(item.url, item.user, item.authorization_file, item.ca_file)
            for item in context.target.destinations
        ),
        clock="" if host == servers[0] else roles.gateway_url(settings, first, "/"),
        logs=("/var/log/journal", *(app_log_dir(app.service) for app in apps)),
        links=False,
    )
    return {f"{name}/{FILE}": to_text(plan), **_alert_files(context, name)[0]}, set()


def _grafana(context: _Context, name: str) -> Texts:
    path = f"grafana/{GRAFANA_PASSWORD_FILE}"
    files = grafana_files(context.target)
    return {**files, path: secret(context.secrets, GRAFANA_ADMIN)}, {path}


FILES_OF: Mapping[str, Callable[[_Context, str], Texts]] = {
    "loki": _loki,
    "seaweedfs": _seaweedfs,
    "archiver": _archiver,
    "monitor": _monitor,
    "grafana": _grafana,
    "alertmanager": _alertmanager,
    "gateway": _gateway,
    "otelcol": _otelcol,
    "promtail": _promtail,
}
"""The components that have files on hosts which are made from the fleet or its secrets."""
