"""Which folders the agent of a host sees through its own mounts, and how. Pure.

Through them it follows no symbolic link that an application planted, and it needs no capability to
read Docker's log files. agent_mounts.py makes the mounts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stack.components.log_sources import CONTAINER_LOGS, log_sources
from stack.hosts import HostsError, agent_mounts
from stack.hosts.files import PYTHON
from stack.settings.targets import Target

LOGS = PurePosixPath("/var/log")
SCRIPT_NAME = "mounts.py"


@dataclass(frozen=True)
class View:
    """A folder of log files. `kind`: `links` or `owned`, see agent_mounts.py.

    `source` is the mount that the unit binds to `folder`.
    """

    kind: str
    folder: str
    source: str

    @property
    def above(self) -> str:
        """The parent folder."""
        return str(PurePosixPath(self.folder).parent)


def views(target: Target) -> tuple[View, ...]:
    """The folders of all files that the agent reads. Raises HostsError."""
    folders: set[PurePosixPath] = set()
    docker = False
    for source in log_sources(target):
        if source.kind == "docker":
            docker = True
        elif source.kind == "file":
            folders.add(_folder_of(source.path))
    outermost = sorted(str(f) for f in folders if not folders.intersection(f.parents))
    kinds = dict.fromkeys(outermost, "links") | ({CONTAINER_LOGS: "owned"} if docker else {})
    above = _mounts_of(target.settings.stack.agent)
    return tuple(View(kind, folder, f"{above}{folder}") for folder, kind in kinds.items())


def commands(target: Target, user: str) -> tuple[Sequence[str], Sequence[str]]:
    """What root runs before the agent starts and after it stops; empty without views."""
    if not views(target):
        return (), ()
    agent = target.settings.stack.agent
    program = (PYTHON, "-I", str(target.config_dir(agent) / SCRIPT_NAME))
    folders = [f"{view.kind}:{view.folder}" for view in views(target)]
    above = _mounts_of(agent)
    return (*program, "mount", above, user, *folders), (*program, "unmount", above)


def _mounts_of(agent: str) -> str:
    """Of each agent, because the former one stops after the new one has started."""
    return f"/run/logstack/{agent}"


def script() -> str:
    """The text of agent_mounts.py."""
    return Path(agent_mounts.__file__).read_text(encoding="utf-8")


def _folder_of(pattern: str) -> PurePosixPath:
    """The folder of a pattern, as far as it has no wildcard; /var/log for what is below it.

    Only root can replace an entry of /var/log.
    """
    folder = PurePosixPath(pattern).parent
    while set("*?[{\\") & set(str(folder)):
        folder = folder.parent
    if LOGS in (folder, *folder.parents):
        return LOGS
    if folder == PurePosixPath("/"):
        raise HostsError(
            f"agent.files: expected patterns below a folder without wildcards, got {pattern}"
        )
    return folder
