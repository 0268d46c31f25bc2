"""Whether a host can take its plan: judged from facts, all failures at once, nothing changed."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from provisioning import refuse_as_deploy
from stack.artifacts.bundles import PYTHONS
from stack.hosts import agent_view
from stack.hosts.plan import HostPlan
from stack.settings import Settings
from stack.settings.units import format_bytes, parse_bytes

refuse_as_deploy(__name__)

SYSTEMS = ("debian", "ubuntu")
MEMORY = 400 * 1024**2  # less than the smallest machine on sale has
ROOM = 512 * 1024**2  # for two versions of every binary
CLOCK_SECONDS = 5
KERNEL = (5, 14)  # mount_setattr(2) with all that stack/hosts/agent_mounts.py sets


def problems(facts: Mapping[str, Any], plan: HostPlan, settings: Settings, now: float) -> list[str]:
    """Each as: what, wanted, found and what to do. `now`: the control machine's clock."""
    found = []
    if facts["user"] != 0:
        found.append("sudo: wanted root's rights, found none. Allow sudo to the deploy user")
    if facts["os"] not in SYSTEMS:
        found.append(f"system: wanted {' or '.join(SYSTEMS)}, found {facts['os_name'] or 'none'}")
    if not facts["systemd"]:
        found.append("systemd: wanted it as the service manager, found another or none")
    if facts["machine"] != platform.machine():
        found.append(
            f"architecture: wanted {platform.machine()}, for which the control machine has "
            f"binaries, found {facts['machine']}"
        )
    if facts["memory"] < MEMORY:
        found.append(
            f"memory: wanted {format_bytes(MEMORY)}, found {format_bytes(facts['memory'])}"
        )
    room = ROOM + parse_bytes(settings.limits.free_disk)
    if facts["disk"] < room:
        found.append(
            f"disk: expected {format_bytes(room)} free in /var/lib, "
            f"got {format_bytes(facts['disk'])}"
        )
    if abs(facts["time"] - now) > CLOCK_SECONDS:
        found.append(
            f"clock: wanted at most {CLOCK_SECONDS} s of difference to the control machine, found "
            f"{facts['time'] - now:+.0f} s. Type there: timedatectl set-ntp true"
        )
    if "archiver" in {c.name for c in plan.components} and facts["python"] not in PYTHONS:
        found.append(
            f"python3: wanted {PYTHONS[0]} to {PYTHONS[-1]} for the archiver, found "
            f"{facts['python']}. Install one, or give the role archive to another log server"
        )
    if any(file.path == agent_view.SCRIPT for c in plan.components for file in c.files):
        found += _log_folders(facts, [app.service for app in settings.app_hosts.apps])
    for component in plan.components:
        port = urlsplit(component.health).port
        owner = facts["listening"].get(str(port))
        if owner is not None and owner != component.user:
            found.append(
                f"ports: wanted port {port} for {component.name}, found it taken by a program of "
                f"the user {owner}. Type there: ss -ltnp 'sport = :{port}'"
            )
    return found


def _log_folders(facts: Mapping[str, Any], services: Sequence[str]) -> list[str]:
    """What keeps the agent from reading the log folders, and them alone (agent_mounts.py)."""
    found = []
    if tuple(map(int, re.findall(r"\d+", facts["kernel"])[:2])) < KERNEL:
        found.append(f"kernel: expected {KERNEL[0]}.{KERNEL[1]} or later, got {facts['kernel']}")
    if not facts["hard_links"]:
        found.append(
            "fs.protected_hardlinks: expected 1, got 0, which lets an application link to files of "
            "others. Run there: sysctl -w fs.protected_hardlinks=1"
        )
    for name in sorted({"journal", *services} & set(facts["log_links"])):
        found.append(
            f"/var/log/{name}: expected a folder, got a link, which the agent does not follow. "
            f"Mount the folder there (fstab: bind) instead"
        )
    return found
