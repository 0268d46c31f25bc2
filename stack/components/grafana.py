"""Grafana: shows records and dashboards; no other component depends on it."""

from __future__ import annotations

from pathlib import Path

from stack.components.component import Artifact, Component, Container
from stack.components.grafana_files import grafana_files
from stack.engines.kinds import kind_of
from stack.settings import variable_name
from stack.settings.secrets import GRAFANA_PASSWORD
from stack.settings.targets import Target

# Without these, Grafana would accept strangers or send data to its maker.
FIXED = {
    "GF_LOG_MODE": "console",
    "GF_AUTH_ANONYMOUS_ENABLED": "false",
    "GF_USERS_ALLOW_SIGN_UP": "false",
    "GF_SECURITY_DISABLE_GRAVATAR": "true",
    "GF_SNAPSHOTS_EXTERNAL_ENABLED": "false",
    "GF_NEWS_NEWS_FEED_ENABLED": "false",
    "GF_ANALYTICS_REPORTING_ENABLED": "false",
    "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
}


def grafana_home(program: Path) -> list[str]:
    """The folder of Grafana's web pages: beside the program, or that of distribution packages."""
    beside = program.resolve().parent.parent
    home = beside if (beside / "public").is_dir() else Path("/usr/share/grafana")
    return [f"--homepath={home}"]


def arguments(target: Target) -> list[str]:
    """None in a container, where the image's entry point adds them."""
    return [] if target.in_containers else ["server"]


def grafana_env(target: Target) -> dict[str, str]:
    """Only the administrator can log in, with a secret password; no data is sent to others."""
    storage = target.storage_dir("grafana")
    plugin = kind_of(target.settings).grafana_plugin
    return {
        "GF_SERVER_HTTP_ADDR": target.listen_host,
        "GF_SERVER_HTTP_PORT": str(target.port("grafana")),
        "GF_SERVER_ROOT_URL": target.settings.alerts.grafana_url or target.url("grafana"),
        "GF_PATHS_DATA": str(storage),
        "GF_PATHS_LOGS": str(storage / "log"),
        "GF_PATHS_PLUGINS": str(storage / "plugins"),
        "GF_PATHS_PROVISIONING": str(target.config_dir("grafana") / "provisioning"),
        **FIXED,
        # No other plugins. Grafana also starts when it cannot download this one.
        "GF_PLUGINS_PREINSTALL_DISABLED": "false" if plugin else "true",
        **({"GF_PLUGINS_PREINSTALL": plugin} if plugin else {}),
    }


COMPONENTS = (
    Component(
        "grafana",
        120,
        arguments,
        lambda settings: Artifact("grafana", settings.versions["grafana"], binaries=("grafana",)),
        port="grafana",
        health="/api/health",
        env=grafana_env,
        argv_at=grafana_home,
        files=lambda target, secrets: grafana_files(target),
        variables=(GRAFANA_PASSWORD,),
        is_selected=lambda settings, containers: (
            settings.stack.grafana == "on" or (settings.stack.grafana == "auto" and containers)
        ),
        container=Container(storage="/var/lib/grafana", has_tmp=True),
        instead=f"{variable_name('stack', 'grafana')}=off",
    ),
)
