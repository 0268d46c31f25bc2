"""Preflight: whether a host can take its plan. Reports all failures; changes nothing."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from stack.artifacts.bundles import MONITOR_PYTHON, PYTHONS
from stack.hosts import agent_view, firewall
from stack.hosts.plan import HostPlan
from stack.settings import Settings
from stack.settings.targets import STATE_DIR
from stack.settings.units import format_bytes, parse_bytes

SYSTEMS = ("debian", "ubuntu")
MEMORY = 400 * 1024**2  # below the smallest machine on sale
ROOM = 512 * 1024**2  # for two versions of every program
CLOCK_SECONDS = 5
KERNEL = (5, 14)  # mount_setattr(2) with every flag that stack/hosts/agent_mounts.py sets


def failed_checks(
    facts: Mapping[str, Any], plan: HostPlan, settings: Settings, now: float
) -> list[str]:
    """Each as `<check>: expected ..., got ...` and a remedy. `now`: the control machine's clock."""
    found = []
    if facts["user"] != 0:
        found.append("sudo: expected root's rights, got none. Allow the deploy user to use sudo")
    if facts["os"] not in SYSTEMS:
        found.append(f"system: expected {' or '.join(SYSTEMS)}, got {facts['os_name'] or 'none'}")
    if not facts["systemd"]:
        found.append("systemd: expected it as the service manager, got another or none")
    if facts["machine"] != platform.machine():
        found.append(
            f"architecture: expected {platform.machine()}, as on the control machine, "
            f"got {facts['machine']}"
        )
    if facts["memory"] < MEMORY:
        found.append(
            f"memory: expected {format_bytes(MEMORY)}, got {format_bytes(facts['memory'])}"
        )
    found += _disks(facts["places"], settings)
    if abs(facts["time"] - now) > CLOCK_SECONDS:
        found.append(
            f"clock: expected at most {CLOCK_SECONDS} s of difference from the control machine, "
            f"got {facts['time'] - now:+.0f} s. Run on the host: timedatectl set-ntp true"
        )
    if "archiver" in {c.name for c in plan.components} and facts["python"] not in PYTHONS:
        found.append(
            f"python3: expected {PYTHONS[0]} to {PYTHONS[-1]} for the archiver, got "
            f"{facts['python']}. Install one, or give the role archive to another log server"
        )
    if firewall.RULES in {file.path for file in plan.files} and "nft" not in facts["programs"]:
        found.append(
            "nftables: expected it on a log server, because it keeps other users from the stack's "
            "programs, got none. Run on the host: apt install nftables"
        )
    if "monitor" in {c.name for c in plan.components} and _version(facts) < MONITOR_PYTHON:
        oldest = ".".join(map(str, MONITOR_PYTHON))
        found.append(f"python3: expected {oldest} or later for the monitor, got {facts['python']}")
    names = {PurePath(file.path).name for c in plan.components for file in c.files}
    if agent_view.SCRIPT_NAME in names:
        found += _log_folders(facts, [app.service for app in settings.app_hosts.apps])
    for component in plan.components:
        port = urlsplit(component.health).port
        owner = facts["listening"].get(str(port))
        if owner is not None and owner != component.user:
            found.append(
                f"ports: expected port {port} free for {component.name}, got a listener of the "
                f"user {owner}. Run on the host: ss -ltnp 'sport = :{port}'"
            )
    return found


def _disks(places: Mapping[str, Any], settings: Settings) -> list[str]:
    """Where there is too little room; data may have disks of their own."""
    least = parse_bytes(settings.limits.free_disk)
    rooms = {"/opt": ROOM, "/var/tmp": ROOM, "/var/lib": ROOM + least}  # noqa: S108
    found = []
    for path, place in places.items():
        is_data = PurePath(path).is_relative_to(STATE_DIR)
        expected = least if is_data else rooms.get(path, 0)
        if place["read_only"]:
            found.append(f"{path}: expected a folder that can be written to, got a read-only one")
        elif is_data and place["size"] <= least:
            found.append(
                f"limits.free_disk: expected less than the disk of {path} has, "
                f"{format_bytes(place['size'])}, got {settings.limits.free_disk}: the engine would "
                "accept no records. Set a smaller one, or mount a larger disk"
            )
        elif place["free"] < expected:
            found.append(
                f"disk: expected {format_bytes(expected)} free in {path}, "
                f"got {format_bytes(place['free'])}"
            )
    return found


def _version(facts: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", facts["python"])[:2]))


def _log_folders(facts: Mapping[str, Any], services: Sequence[str]) -> list[str]:
    """Why the agent could not read the log folders and nothing else (agent_mounts.py)."""
    found = []
    if tuple(map(int, re.findall(r"\d+", facts["kernel"])[:2])) < KERNEL:
        found.append(f"kernel: expected {KERNEL[0]}.{KERNEL[1]} or later, got {facts['kernel']}")
    if not facts["hard_links"]:
        found.append(
            "fs.protected_hardlinks: expected 1, got 0, which lets an application link to other "
            "users' files. Run on the host: sysctl -w fs.protected_hardlinks=1"
        )
    for name in sorted({"journal", *services} & set(facts["log_links"])):
        found.append(
            f"/var/log/{name}: expected a folder, got a link, which the agent does not follow. "
            f"Use a bind mount instead (fstab: bind)"
        )
    return found
