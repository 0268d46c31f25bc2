"""Which of the two local runtimes is used: chosen by `up`, detected by every other command.

The runtimes are imported where they are used: reading records needs neither of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stack.settings import Settings
from stack.settings.secrets import sample_app_secrets
from stack.settings.targets import Target, read_started_settings
from stack.settings.targets import native as native_target

if TYPE_CHECKING:
    from stack.runtimes.docker.runtime import DockerRuntime
    from stack.runtimes.native import OnProgress, Status

LOG_LINES = 500
LOG_BYTES = 200_000


@dataclass(frozen=True)
class Choice:
    """`name`: native or docker; `reason` is empty where the settings say which."""

    name: str
    reason: str = ""


def choose(settings: Settings, on_progress: OnProgress) -> Choice:
    """The runtime that `up` starts. Raises DockerError when docker is demanded and unusable."""
    from stack.runtimes import native
    from stack.runtimes.docker import runtime as docker
    from stack.runtimes.docker.engine import DockerError, check_engine

    chosen = settings.stack.runtime
    if chosen == "native":
        return Choice("native")
    if chosen == "auto" and docker.running(settings):
        return Choice("docker", "it is running")
    if chosen == "auto" and native.is_running(settings):
        return Choice("native", "it is running")
    try:
        check_engine(settings)
        runtime = docker.DockerRuntime(settings)
        runtime.pull(runtime.missing_images(), on_progress)
    except DockerError as error:
        if chosen == "docker":
            raise
        return Choice("native", str(error).splitlines()[0])
    return Choice("docker", "" if chosen == "docker" else "an engine answers and has every image")


@dataclass(frozen=True)
class Running:
    """What runs in this checkout, for the commands that use it. `docker` is None natively."""

    target: Target
    docker: DockerRuntime | None
    secrets_dir: Path

    def secrets(self) -> dict[str, str]:
        """The sample app's secrets; made when there are none yet."""
        return sample_app_secrets(self.secrets_dir)

    def read_log(self, component: str) -> str:
        """The end of what a component has printed, of some hundred lines."""
        if self.docker:
            return self.docker.logs(component, LOG_LINES)
        from stack.runtimes import native

        return native.read_tail(self.target.log_file(component), LOG_BYTES)

    def log_place(self, component: str) -> str:
        """Where people find all of it: a file, or a command."""
        return next((item.log for item in self.statuses() if item.name == component), "")

    def statuses(self) -> list[Status]:
        """The state of every component."""
        if self.docker:
            return self.docker.status()
        from stack.runtimes import native

        return native.status(self.target.settings)


def running(settings: Settings) -> Running:
    """The runtime that is up; the native one where none is."""
    if started := read_started_settings(settings, "docker"):
        from stack.runtimes.docker.runtime import DockerRuntime

        runtime = DockerRuntime(started)
        return Running(runtime.target, runtime, runtime.data_dir)
    target = native_target(read_started_settings(settings, "native") or settings)
    return Running(target, None, target.data_dir)
