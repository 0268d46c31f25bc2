"""The gateway of a log server: Caddy, with TLS and a password for each host and each user."""

from __future__ import annotations

from stack.components.component import Artifact, Component, config_check
from stack.components.gateway_passwords import PATCHES
from stack.settings import Settings
from stack.settings.targets import Target


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
