"""The gateway of a log server: Caddy, with TLS and a password for each host and each user."""

from __future__ import annotations

from stack.components.component import Added, Artifact, Component, config_check
from stack.components.gateway_passwords import MODULE, PATCHES
from stack.settings import ROOT, Settings
from stack.settings.targets import Target

# A handler of our own, in the package that knows who a client is (decision 0061).
OWN_HOST = ROOT / "stack" / "artifacts" / "own_host.go"


def arguments(target: Target) -> list[str]:
    caddyfile = target.config_dir("gateway") / "Caddyfile"
    return ["run", "--adapter=caddyfile", f"--config={caddyfile}"]


def capabilities(settings: Settings) -> list[str]:
    return ["CAP_NET_BIND_SERVICE"] if settings.ports.effective("gateway") < 1024 else []


COMPONENTS = (
    Component(
        "gateway",
        130,
        arguments,
        lambda settings: Artifact(
            "caddy",
            settings.versions["caddy"],
            packages=("github.com/caddyserver/caddy/v2/cmd/caddy",),
            binaries=("caddy",),
            patches=PATCHES,
            added=(
                Added(
                    MODULE,
                    "modules/caddyhttp/caddyauth/own_host.go",
                    OWN_HOST.read_text(encoding="utf-8"),
                ),
            ),
        ),
        port="gateway",
        health="/health",
        health_port="gateway_health",
        other_ports=("gateway_health",),
        env=lambda target: {"HOME": str(target.storage_dir("gateway"))},
        is_selected=lambda settings, containers: False,  # only on hosts
        check=config_check(
            "gateway",
            "Caddyfile",
            '{rewritten} | HOME=/nonexistent "$0" validate --adapter caddyfile --config -',
        ),
        capabilities=capabilities,
    ),
)
