"""What can be in the way of containers, each named before or after it has stopped them.

docker.py calls these; what is known of an error of Compose or of a component's log is said here.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from stack.runtimes.docker.engine import DockerError, run
from stack.settings import Settings, variable_name
from stack.settings.units import format_bytes, parse_bytes

NO_ACCESS = (
    "With SELinux allow the mount (container_file_t); with user namespaces or a rootless engine "
    "use: RUNTIME=native make up"
)
# Reads one line of every log file as the agent's container does: root without capabilities.
READ_LOGS = """
import os
for folder in os.scandir("/logs"):
    for name in os.listdir(folder) if folder.is_dir() else ():
        if name.endswith("-json.log"):
            open(os.path.join(folder, name), "rb").readline()
"""


def check_room(root: Path, settings: Settings) -> None:
    """There is room where the engine keeps images and volumes. Raises DockerError."""
    if not root.is_dir():  # the engine is on another machine, or in a virtual one
        return
    free = shutil.disk_usage(root).free
    if free < parse_bytes(settings.limits.free_disk):
        raise DockerError(
            f"limits.free_disk: expected at least {settings.limits.free_disk} free in {root}, "
            f"got {format_bytes(free)}. Free some, for example: docker system prune"
        )


def check_log_mount(image: str, folder: str) -> None:
    """A container without capabilities may read Docker's log files. Raises DockerError."""
    options = ("--rm", "--user=0:0", "--cap-drop=ALL", "--network=none", "--read-only")
    mount = ("--volume", f"{folder}:/logs:ro", "--entrypoint", "python3")
    result = run("run", *options, *mount, image, "-c", READ_LOGS)
    if "PermissionError" in result.stderr:
        raise DockerError(
            f"cannot read the containers' logs in {folder}: the agent may not read Docker's log "
            f"files: {result.stderr.strip().splitlines()[-1]}. {NO_ACCESS}"
        )


def log_hint(component: str, log: str) -> str:
    """What to do about what the log of a component that does not start says."""
    denied = [line for line in log.splitlines() if "permission denied" in line]
    if not denied:
        return ""
    if component in ("otelcol", "promtail") and any("containers" in line for line in denied):
        return f" It may not read Docker's log files. {NO_ACCESS}"
    return (
        " It may not use its volume, which an image of another user has filled. Give it to the "
        "user of this image, or remove it together with its data: "
        "docker volume ls, docker volume rm NAME"
    )


def explain(text: str) -> str:
    """Compose's error, and what it means where that is known."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    end = "\n".join(lines[-5:])
    if "port is already allocated" in text or "address already in use" in text:
        return f"{end}\nA port is taken. Move all of them: {variable_name('ports', 'offset')}=1000"
    if "no space left" in text:
        return f"{end}\nThe disk is full. Free some, for example: docker system prune"
    return end or "Compose failed without a message"
