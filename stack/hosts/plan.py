"""plan_for(settings, secrets, host): every file, unit and check of one host. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from stack import artifacts, components, render
from stack.alerting.files import alert_files
from stack.hosts import fleet
from stack.settings import FileSource, Settings
from stack.targets import Target
from stack.targets import host as host_target


@dataclass(frozen=True)
class HostFile:
    """A file on the host. `owner`: root or the component's user; `secret`: never shown."""

    path: str
    text: str
    mode: str
    owner: str
    secret: bool = False


@dataclass(frozen=True)
class HostComponent:
    """One service of a host, `logstack-<name>.service`."""

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
    """Everything that one host has."""

    host: str
    roles: tuple[str, ...]
    components: tuple[HostComponent, ...]
    files: tuple[HostFile, ...]


CHECKS = {
    "otelcol": ("{binary}", "validate", "--config={config}/config.yaml"),
    "alertmanager": ("{folder}/amtool", "check-config", "{config}/alertmanager.yml"),
    "vmalert": ("{binary}", "-dryRun", "-rule={config}/rules/*.yaml", "-rule.defaultRuleType=vlogs"),
}


class _T(Target):
    def peer(self, component: str, path: str = "", port_name: str = "") -> str:
        if self.destinations and component == "victorialogs":
            return f"http://{self.destinations[0].url}:{self.port('victorialogs')}{path}"
        return super().peer(component, path, port_name)

    def listen(self, name: str) -> str:
        return f"0.0.0.0:{self.port(name)}" if name == "victorialogs" else super().listen(name)


def plan_for(settings: Settings, secrets: Mapping[str, str], host: str) -> HostPlan:
    roles = fleet.roles_of(settings, host)
    base = host_target(settings, host)
    t = _T(**base.__dict__)
    names = []
    if "log_server" in roles:
        names += ["victorialogs"]
    if "alerting" in roles:
        names += ["alertmanager", "vmalert"]
    if "app_host" in roles:
        names += ["otelcol"]
        server = fleet.with_role(settings, "log_server")[0]
        from stack.targets import Destination
        t = replace(t, destinations=(Destination(server, settings.hosts[server].peer_address, "", ""),))
    files = alert_files(t)
    files["otelcol/config.yaml"] = render.render_otelcol(
        replace(t, settings=t.settings.model_copy(update={"agent": t.settings.agent.model_copy(update={"files": tuple(
            FileSource(service=a.service, path=f"/var/log/{a.service}/*.log") for a in settings.app_hosts.apps)})})))
    out = []
    cat = artifacts.catalogue(settings)
    for name in names:
        c = components.by_name(name)
        user = f"logstack-{name}"
        art = cat[c.artifact]
        binary = f"/opt/logstack/{art.name}/current/{art.binaries[0]}"
        argv = [binary, *c.argv(t)]
        env = "\n".join(f"Environment={k}={v}" for k, v in c.env(t).items())
        q = " ".join('"' + a.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"' for a in argv)
        unit = f"""[Unit]
Description=Logstack {name}
After=network-online.target
StartLimitIntervalSec=0
[Service]
User={user}
{env}
ExecStart={q}
Restart=always
RestartSec=1
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ReadWritePaths=/var/lib/logstack/{name}
LimitNOFILE=65536
{"SupplementaryGroups=adm" if name == "otelcol" else ""}
[Install]
WantedBy=multi-user.target
"""
        out.append(HostComponent(
            name, art.name, art.version, user, ((f"/var/lib/logstack/{name}", "0700"),),
            tuple(HostFile(f"/etc/logstack/{p}", text, "0600", user, True) for p, text in files.items() if p.startswith(name + "/")),
            HostFile(f"/etc/systemd/system/logstack-{name}.service", unit, "0644", "root"),
            CHECKS.get(name, ()), c.health_url(t), name == "victorialogs"))
    return HostPlan(host, roles, tuple(out), (HostFile("/etc/systemd/journald.conf.d/logstack.conf", "[Journal]\nSystemMaxUse=1G\n", "0644", "root"),))
