"""Files of a host about its logs: folders, rotation, journald, Docker's options. Pure."""

from __future__ import annotations

import json

from stack.components.log_sources import SERVICE_LABEL, app_log_dir
from stack.hosts.files import UNITS, HostFile, public_file
from stack.render.templates import render_template
from stack.settings import Settings
from stack.settings.units import parse_bytes

JOURNALD = "/etc/systemd/journald.conf.d/logstack.conf"
DOCKER = "/etc/docker/daemon.json"  # the operator's file; Logstack sets only two of its keys
FOLDERS = "/etc/tmpfiles.d/logstack.conf"
# Not in /etc/logrotate.d: the host reads that folder once a day, too seldom for a size limit.
ROTATION = "/etc/logstack/logrotate.conf"
ROTATION_SERVICE = f"{UNITS}/logstack-logrotate.service"
ROTATION_TIMER = f"{UNITS}/logstack-logrotate.timer"
EARLIER = ("/etc/logrotate.d/logstack",)
"""Paths of earlier versions."""
PATHS = (JOURNALD, FOLDERS, ROTATION_TIMER, ROTATION_SERVICE, ROTATION, *EARLIER)
"""Files that belong to Logstack alone: a deploy removes those that are in no plan."""


def host_files(settings: Settings, *, runs_apps: bool) -> tuple[HostFile, ...]:
    """journald's limits, and on application hosts the files for their applications' logs."""
    values = settings.app_hosts
    files = {
        JOURNALD: render_template("journald/logstack.conf.j2", size=values.journal_limit),
    }
    if runs_apps and values.docker_logs:
        files[DOCKER] = _docker(settings)
    if runs_apps and values.apps:
        group = f"logstack-{settings.stack.agent}"
        apps = [{"user": app.user, "folder": app_log_dir(app.service)} for app in values.apps]
        files |= {
            FOLDERS: render_template("tmpfiles/logstack.conf.j2", apps=apps, group=group),
            ROTATION: render_template(
                "logrotate/logstack.conf.j2",
                apps=apps,
                group=group,
                size=values.rotate_size,
                keep=values.rotate_keep,
            ),
            ROTATION_SERVICE: render_template("systemd/logrotate.service.j2", rotation=ROTATION),
            ROTATION_TIMER: render_template("systemd/logrotate.timer.j2"),
        }
    return tuple(public_file(path, text) for path, text in files.items())


def folders_of(text: str) -> dict[str, dict[str, str]]:
    """The folders that a text of FOLDERS creates: the mode and the owner of each."""
    rows = [line.split() for line in text.splitlines() if line.startswith("d ")]
    return {path: {"mode": mode, "owner": user} for _, path, mode, user, *_ in rows}


def _docker(settings: Settings) -> str:
    values = settings.app_hosts
    options = {
        "max-size": str(parse_bytes(values.docker_size)),
        "max-file": str(values.docker_keep),
        "labels": SERVICE_LABEL,
    }
    return json.dumps({"log-driver": "json-file", "log-opts": options}, indent=2) + "\n"
