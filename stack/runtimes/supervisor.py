"""Talks to the supervisord of one run folder. Used by native.py alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport

from stack.common import wait_until
from stack.components.catalogue import CATALOGUE
from stack.runtimes import processes
from stack.settings.targets import Target
from stack.settings.units import parse_duration

ANSWER_TIMEOUT = 15  # seconds in which a supervisord that works has answered


class SupervisorError(Exception):
    """supervisord did not start or refused a call; the text says why."""


# States of a program that supervisord has started and not stopped.
RUNNING = ("RUNNING", "STARTING", "BACKOFF")


@dataclass(frozen=True)
class Process:
    """What supervisord says of one program. `since` is in seconds since the epoch."""

    name: str
    state: str
    pid: int
    since: float
    message: str


class Supervisor:
    """The supervisord that belongs to a target's run folder, running or not."""

    def __init__(self, target: Target):
        self.target = target
        self.socket = target.supervisor_socket

    @property
    def config(self) -> Path:
        return self.target.run_dir / "supervisord.conf"

    def is_running(self) -> bool:
        """Whether it answers. A socket or pid file left behind by a crash does not count."""
        if not self.socket.exists():
            return False
        try:
            with self._rpc() as rpc:
                return bool(rpc.supervisor.getState()["statename"] == "RUNNING")
        except SupervisorError:
            return False

    def start(self) -> None:
        """Start it in the background on the rendered configuration. Raises SupervisorError."""
        self.socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.socket.parent.stat().st_uid != os.getuid():
            raise SupervisorError(
                f"{self.socket.parent}: expected a folder of this user, got another user's"
            )
        result = subprocess.run(
            [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(self.config)],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if result.returncode != 0:
            raise SupervisorError(f"cannot start supervisord: {result.stdout}{result.stderr}")
        if not wait_until(self.is_running, timeout=15, every=0.05):
            raise SupervisorError("cannot start supervisord: it does not answer on its socket")

    def shutdown(self) -> None:
        """Stop every program and supervisord itself; returns when it is gone."""
        pid = self.pid()
        with self._rpc() as rpc:
            rpc.supervisor.shutdown()
        while pid and _is_alive(pid):
            time.sleep(0.05)
        self.end_leftovers()

    def leftovers(self) -> dict[str, list[psutil.Process]]:
        """The processes of its programs, when it does not answer: it was killed, or it hangs."""
        return processes.started_by(self.socket)

    def end_leftovers(self) -> list[str]:
        """End a supervisord that does not answer, and its programs; their names.

        They are stopped as it would stop them: the engine last, each with its time.
        """
        own = self._own_process()
        if own and own.is_running() and own.status() != psutil.STATUS_STOPPED:
            # It may be stopping its programs.
            psutil.wait_procs([own], timeout=self._stop_seconds("supervisord"))
        processes.end({"": [own] if own else []}, {"": 0})
        programs = self.leftovers()
        names = [component.name for component in reversed(CATALOGUE)]
        processes.end(programs, {name: self._stop_seconds(name) for name in names})
        return list(programs)

    def _stop_seconds(self, name: str) -> float:
        """How long a program has to end before it is killed."""
        own = next((c.stop_seconds for c in CATALOGUE if c.name == name), 0)
        timeout = self.target.settings.timing.stop_timeout
        return own or parse_duration(timeout).total_seconds()

    def _own_process(self) -> psutil.Process | None:
        """The process of its pid file, unless it has ended and another one has that pid."""
        try:
            text = (self.target.run_dir / "supervisord.pid").read_text(encoding="ascii")
            process = psutil.Process(int(text))
            return process if str(self.config) in process.cmdline() else None
        except (OSError, ValueError, psutil.Error):
            return None

    def pid(self) -> int:
        with self._rpc() as rpc:
            return int(rpc.supervisor.getPID())

    def processes(self) -> dict[str, Process]:
        with self._rpc() as rpc:
            return {
                info["name"]: Process(
                    info["name"], info["statename"], info["pid"], info["start"], info["spawnerr"]
                )
                for info in rpc.supervisor.getAllProcessInfo()
            }

    def reload_config(self) -> tuple[list[str], list[str], list[str]]:
        """Read the configuration again: names of the programs added, changed and removed."""
        with self._rpc() as rpc:
            (added, changed, removed) = rpc.supervisor.reloadConfig()[0]
            return added, changed, removed

    def add(self, name: str) -> None:
        with self._rpc() as rpc:
            rpc.supervisor.addProcessGroup(name)

    def remove(self, name: str) -> None:
        self.stop(name)
        with self._rpc() as rpc:
            rpc.supervisor.removeProcessGroup(name)

    def stop(self, name: str) -> None:
        with self._rpc(ANSWER_TIMEOUT + self._stop_seconds(name)) as rpc:
            state = rpc.supervisor.getProcessInfo(name)["statename"]
            if state in RUNNING:
                rpc.supervisor.stopProcess(name)

    def start_program(self, name: str) -> None:
        """Start a program that does not run."""
        with self._rpc() as rpc:
            if rpc.supervisor.getProcessInfo(name)["statename"] not in RUNNING:
                rpc.supervisor.startProcess(name, False)

    def restart(self, name: str) -> None:
        self.stop(name)
        self.start_program(name)

    @contextmanager
    def _rpc(self, timeout: float = ANSWER_TIMEOUT) -> Iterator[Any]:
        """The calls of supervisor's XML-RPC interface, over its socket. Raises SupervisorError."""
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self.socket}")
        transport._get_connection = lambda: _Connection(self.socket, timeout)
        try:
            yield xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        except xmlrpc.client.Fault as error:
            raise SupervisorError(f"supervisord refused: {error.faultString}") from None
        except (OSError, HTTPException) as error:
            raise SupervisorError(
                f"supervisord does not answer on {self.socket}: {error}"
            ) from None
        finally:
            transport.close()


class _Connection(HTTPConnection):
    """To a socket, with a time after which no answer is one."""

    def __init__(self, path: Path, timeout: float):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _is_alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
