"""Files of a host about its logs: folders, rotation, journald, Docker's options. Pure."""

from __future__ import annotations

import json

from stack.components.log_sources import SERVICE_LABEL, app_log_dir
from stack.hosts.files import RENDERED as HEAD
from stack.hosts.files import UNITS, HostFile
from stack.settings import Settings
from stack.settings.hosts import App
from stack.settings.units import parse_bytes

AGENT_GROUP = "logstack-otelcol"
JOURNALD = "/etc/systemd/journald.conf.d/logstack.conf"
DOCKER = "/etc/docker/daemon.json"  # the operator's; only two keys are ours
FOLDERS = "/etc/tmpfiles.d/logstack.conf"
# Not in /etc/logrotate.d, whose files the host looks at once a day: a size would mean nothing.
ROTATION = "/etc/logstack/logrotate.conf"
ROTATION_SERVICE = f"{UNITS}/logstack-logrotate.service"
ROTATION_TIMER = f"{UNITS}/logstack-logrotate.timer"
EARLIER = ("/etc/logrotate.d/logstack",)
"""Paths of earlier versions."""
PATHS = (JOURNALD, FOLDERS, ROTATION_TIMER, ROTATION_SERVICE, ROTATION, *EARLIER)
"""Files that are there for Logstack alone: one that is in no plan goes."""


def host_files(settings: Settings, *, runs_apps: bool) -> tuple[HostFile, ...]:
    """What a host needs for its logs: journald's limits, and on application hosts the rest."""
    values = settings.app_hosts
    journald = HostFile(JOURNALD, _journald(settings), "0644", "root")
    if not runs_apps:
        return (journald,)
    files = {
        DOCKER: _docker(settings) if values.docker_logs else "",
        FOLDERS: _folders(values.apps),
        ROTATION: _rotation(settings),
        ROTATION_SERVICE: ROTATION_SERVICE_TEXT if values.apps else "",
        ROTATION_TIMER: ROTATION_TIMER_TEXT if values.apps else "",
    }
    others = (HostFile(path, text, "0644", "root") for path, text in files.items() if text)
    return (journald, *others)


def _folders(apps: tuple[App, ...]) -> str:
    """The application writes, the agent reads: new files get the folder's group."""
    lines = [f"d {app_log_dir(app.service)} 2750 {app.user} {AGENT_GROUP} -" for app in apps]
    return HEAD + "\n".join(lines) + "\n" if lines else ""


def _rotation(settings: Settings) -> str:
    """Renamed, not copied: WatchedFileHandler opens a new file, the agent reads the old to its end."""  # noqa: E501
    values = settings.app_hosts
    blocks = [
        f"""{app_log_dir(app.service)}/*.log {{
    su {app.user} {AGENT_GROUP}
    daily
    maxsize {parse_bytes(values.rotate_size)}
    rotate {values.rotate_keep}
    missingok
    notifempty
    create 0640 {app.user} {AGENT_GROUP}
    compress
    delaycompress
}}
"""
        for app in values.apps
    ]
    return HEAD + "\n".join(blocks) if blocks else ""


ROTATION_SERVICE_TEXT = f"""{HEAD}[Unit]
Description=Logstack: rotation of the applications' log files

[Service]
Type=oneshot
ExecStart=/usr/sbin/logrotate --state /var/lib/logrotate/logstack.status {ROTATION}
Nice=19
PrivateTmp=yes
ProtectSystem=full
"""
ROTATION_TIMER_TEXT = f"""{HEAD}[Unit]
Description=Logstack: log files that are too large are rotated within the hour

[Timer]
OnCalendar=hourly
Persistent=yes

[Install]
WantedBy=timers.target
"""


def _journald(settings: Settings) -> str:
    size = parse_bytes(settings.app_hosts.journal_limit)
    return f"{HEAD}[Journal]\nStorage=persistent\nSystemMaxUse={size}\nRateLimitBurst=0\n"


def _docker(settings: Settings) -> str:
    values = settings.app_hosts
    options = {
        "max-size": str(parse_bytes(values.docker_size)),
        "max-file": str(values.docker_keep),
        "labels": SERVICE_LABEL,
    }
    return json.dumps({"log-driver": "json-file", "log-opts": options}, indent=2) + "\n"
