"""plan_for(settings, secrets, host): every file, unit and check of one host. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from stack import artifacts, components, render
from stack.alerting.files import SECRETS, alert_files
from stack.hosts import HostsError, app_logging, fleet
from stack.hosts.cluster import cluster_files
from stack.hosts.files import HostFile
from stack.hosts.firewall import firewall_files
from stack.hosts.gateway import basic_authorization, certificate_files, render_caddyfile
from stack.hosts.secrets import CA_CERTIFICATE, LOKI_STORAGE, secret, writer_secret
from stack.hosts.settings import Role
from stack.hosts.units import render_unit
from stack.settings import ROOT, Settings
from stack.targets import Target
from stack.targets import host as host_target


@dataclass(frozen=True)
class HostComponent:
    """One service of a host, `logstack-<name>.service`.

    Its binary is /opt/logstack/<artifact>/<version>/<binary>. `check` runs before anything is
    replaced: `{binary}`, `{folder}` and `{config}` stand for the new binary, its folder and the
    folder with the new configuration. `serial`: one host at a time.
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


def _rewritten(component: str, file: str) -> str:
    """Shell for a configuration whose paths lead to the folder with the new files, as `$1`."""
    return f'sed "s#{Path("/etc/logstack") / component}/#$1/#g" "$1/{file}"'


CHECKS: Mapping[str, tuple[str, ...]] = {
    "otelcol": (
        *("sh", "-c"),
        f'CONFIG="$({_rewritten("otelcol", "config.yaml")})" '
        'exec "$0" validate --config=env:CONFIG',
        *("{binary}", "{config}"),
    ),
    "gateway": (
        *("sh", "-c"),
        f"{_rewritten('gateway', 'Caddyfile')} | "
        'HOME=/nonexistent "$0" validate --adapter caddyfile --config -',
        *("{binary}", "{config}"),
    ),
    "alertmanager": ("{folder}/amtool", "check-config", "{config}/alertmanager.yml"),
    "vmalert": (
        *("{binary}", "-dryRun", "-rule={config}/rules/*.yaml"),
        "-rule.defaultRuleType=vlogs",
    ),
    "loki": ("{binary}", "-verify-config", "-config.file={config}/config.yaml"),
}


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
            *(app_logging.host_files(settings) if "app_host" in roles else ()),
            *_firewall(settings, host),
        ),
    )


def _firewall(settings: Settings, host: str) -> tuple[HostFile, ...]:
    role: Role = "log_server" if settings.stack.engine == "loki" else "alerting"
    return firewall_files(settings, fleet.cluster_of(settings, host, role))


def component_names(settings: Settings, host: str) -> tuple[str, ...]:
    """The services of a host, in the order in which they are deployed: the engine first."""
    roles = fleet.roles_of(settings, host)
    engine = settings.stack.engine
    names: list[str] = []
    if "log_server" in roles:
        names += [engine]
    if "alerting" in roles:
        names += ["alertmanager", *(["vmalert"] if engine == "victorialogs" else [])]
    if "log_server" in roles:
        names += ["gateway"]
    if "app_host" in roles:
        names += ["otelcol"]
    return tuple(names)


def _component(name: str, context: _Context) -> HostComponent:
    target, settings = context.target, context.settings
    user = f"logstack-{name}"
    texts, private = FILES_OF[name](context)
    known = artifacts.for_hosts(settings)
    artifact = known["caddy" if name == "gateway" else name]
    binary = f"/opt/logstack/{artifact.name}/current/{artifact.binaries[0]}"
    if name == "gateway":
        argv = ["run", "--adapter=caddyfile", f"--config={target.config_dir(name) / 'Caddyfile'}"]
        env = {"HOME": str(target.storage_dir(name))}
        health = target.url("gateway_health", "/health")
    else:
        component = components.by_name(name)
        argv, env = component.argv(target), component.env(target)
        health = component.health_url(target)
    state_dir = str(target.storage_dir(name))
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
        unit=render_unit(name, user, [binary, *argv], env, state_dir, settings),
        check=CHECKS.get(name, ()),
        health=health,
        serial=name != "otelcol",
    )


Texts = tuple[dict[str, str], set[str]]
"""Files below /etc/logstack, and which of them are secret."""


def _otelcol(context: _Context) -> Texts:
    target, settings = context.target, context.settings
    password = secret(context.secrets, writer_secret(context.host))
    files = {
        "otelcol/config.yaml": render.render_otelcol(target),
        # Without a newline: it would be a part of the header.
        "otelcol/authorization": basic_authorization(context.host, password),
    }
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
    files = render.render_loki(target, storage)
    files |= {p: text for p, text in context.alerts.items() if p.startswith("loki/")}
    cluster, keys = cluster_files("loki", target, context.host, context.secrets)
    private = keys | ({"loki/config.yaml"} if storage else set())
    return {**files, **cluster}, private


FILES_OF: Mapping[str, Callable[[_Context], Texts]] = {
    "victorialogs": lambda context: ({}, set()),
    "loki": _loki,
    "alertmanager": _alertmanager,
    "vmalert": _vmalert,
    "gateway": _gateway,
    "otelcol": _otelcol,
}
