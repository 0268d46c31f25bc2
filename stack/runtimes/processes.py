"""Processes of this machine: those that a supervisord started, and those that write to a folder.

supervisord tells each program its own address in a variable. So its programs are found, too, when
it was killed and they go on without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import psutil

SERVER_VARIABLE, NAME_VARIABLE = "SUPERVISOR_SERVER_URL", "SUPERVISOR_PROCESS_NAME"


def started_by(socket: Path) -> dict[str, list[psutil.Process]]:
    """The living processes by program that the supervisord with this socket has started."""
    found: dict[str, list[psutil.Process]] = {}
    for process in _others():
        try:
            variables = process.environ()
        except (psutil.Error, OSError):  # another user's, or ended meanwhile
            continue
        if variables.get(SERVER_VARIABLE) == f"unix://{socket}":
            found.setdefault(variables.get(NAME_VARIABLE, ""), []).append(process)
    return found


def end(programs: Mapping[str, list[psutil.Process]], timeouts: Mapping[str, float]) -> None:
    """End programs one after the other, in the order of `timeouts`, which has their seconds.

    What has not ended after its time is killed. Programs that `timeouts` does not name come first.
    """
    unknown = [name for name in programs if name not in timeouts]
    for name in (*unknown, *timeouts):
        processes = programs.get(name, [])
        for process in processes:
            _send(process, "terminate")
        _, alive = psutil.wait_procs(processes, timeout=timeouts.get(name, 5))
        for process in alive:
            _send(process, "kill")
        psutil.wait_procs(alive, timeout=5)


def writers_below(folders: Iterable[Path]) -> dict[int, str]:
    """The processes that have a file below one of the folders open for writing: pid and program.

    Of other users' processes only root can tell.
    """
    places = [str(folder.resolve()) + "/" for folder in folders]
    return {
        process.pid: process.name()
        for process in _others()
        if any(path.startswith(tuple(places)) for path in _written_files(process))
    }


def _written_files(process: psutil.Process) -> list[str]:
    try:
        return [file.path for file in process.open_files() if file.mode != "r"]
    except (psutil.Error, OSError):
        return []


def _others() -> Iterator[psutil.Process]:
    """All living processes but this one and those that it runs below."""
    this = psutil.Process()
    own = {this.pid, *(parent.pid for parent in this.parents())}
    for process in psutil.process_iter():
        try:
            if process.pid not in own and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:
            continue


def _send(process: psutil.Process, method: str) -> None:
    try:
        getattr(process, method)()
    except psutil.Error:
        return  # it has ended
