"""Ends what the tests started when their process ends, however it does: Ctrl-C, SIGTERM, kill -9.

No fixture runs then, least of all in a process of pytest-xdist. So a second process waits for the
end of this one and kills every process that has this one's mark in its environment, which all of
them inherit, also supervisord, which leaves its parent.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

VARIABLE = "TESTS_STARTED_BY"


def watch_this_process() -> None:
    """Start the watcher of this process, and mark what it starts from now on."""
    os.environ.pop(VARIABLE, None)  # of the process that started this one
    mark = uuid.uuid4().hex
    reading, _ = os.pipe()  # the other end is closed when this process ends
    os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", __file__, mark],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0)],
        setsid=True,  # Ctrl-C does not reach it
    )
    os.close(reading)
    os.environ[VARIABLE] = mark


def kill_marked(mark: str) -> None:
    """Kill them until there are none: supervisord restarts what ends."""
    while pids := marked(mark):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def marked(mark: str) -> list[int]:
    """The processes with this mark, in the order in which they were started."""
    entry = f"{VARIABLE}={mark}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended, or is another user's
            if entry in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return sorted(found)


if __name__ == "__main__":
    sys.stdin.read()
    kill_marked(sys.argv[1])
