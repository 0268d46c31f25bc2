"""One run of pyinfra: a session on each host, the hosts' locks, and the end of both.

pyinfra prepares operations on every host and executes them then; `current_run()` is the same object
in both. A session ends before its connection: after the last operation, a failure or Ctrl-C.
"""

from __future__ import annotations

import base64
import getpass
import io
import json
import os
import signal
import socket
import sys
import time
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import gevent
from gevent.lock import RLock
from paramiko import SSHException
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_state
from pyinfra.facts.server import User

from provisioning import DeployError, fleet, preflight
from provisioning.agent.locks import AGENTS
from provisioning.facts.host import HostFacts, HostState
from provisioning.report import Report
from stack.cli.console import note
from stack.hosts.plan import HostPlan
from stack.hosts.secrets import variable_of
from stack.records.timestamps import format_time

# Exceptions of a broken connection, from pyinfra, paramiko or the system.
BROKEN = (PyinfraError, SSHException, OSError, EOFError)
ASK_SECONDS = 180
OPEN_SECONDS = 20
SUDO_PASSWORD = variable_of("sudo_password")
# With words of its own: pyinfra would ask for a password where it reads those of sudo.
TRY_SUDO = "sudo -n true 2>/dev/null || { echo sudo: a password is required here >&2; exit 1; }"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DETECTS_CHANGES = False
"""Set for a plan that asks nothing: pyinfra's `--yes --dry` alone detects none."""
_MAIN = "from provisioning.agent.main import main\n\nmain()\n"


def _agent() -> str:
    """The package that runs on hosts, as a zip file that Python starts, in base64."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted((Path(__file__).parent / "agent").glob("*.py")):
            file.write(path, f"provisioning/agent/{path.name}")
        file.writestr("provisioning/__init__.py", "")
        file.writestr("__main__.py", _MAIN)
    return base64.encodebytes(data.getvalue()).decode()


@dataclass
class Session:
    """The agent of one run on one host."""

    host: Host
    program: str
    locked: bool = False

    @property
    def name(self) -> str:
        return self.host.name

    def ask(
        self,
        action: str,
        *,
        timeout: float | None = None,
        most: int = ASK_SECONDS,
        **values: object,
    ) -> dict[str, Any]:
        """Run one action of the agent. Raises DeployError with the host's error.

        `timeout`: how many seconds the action itself may wait; passed on to it. `most`: how many
        seconds its answer may take besides.
        """
        if timeout is not None:
            values["timeout"] = timeout
        command = StringCommand("python3", "-I", self.program, action)
        seconds = most + int(timeout or 0)
        output = run_command(self.host, command, json.dumps(values), seconds)
        try:
            answer: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
        except (ValueError, IndexError):
            answered = output.strip()[-200:] or "nothing"
            raise DeployError(f"{action}: expected JSON, got {answered}") from None
        return answer

    def fact(self, kind: type[FactBase[dict[str, Any]]], **values: object) -> dict[str, Any]:
        """A fact that the agent reports. Raises DeployError; pyinfra has printed the cause."""
        found: dict[str, Any] | None = self.host.get_fact(
            kind, self.program, _stdin=json.dumps(values), _timeout=ASK_SECONDS, _ignore_errors=True
        )
        if found is None:
            raise DeployError(f"cannot read {kind.name}: see the error above")
        return found


def run_command(host: Host, command: StringCommand, text: str, seconds: int) -> str:
    """The output of a command with `text` as its input. Raises DeployError with its error."""
    arguments, _ = pop_global_arguments(host.state, host, {})
    known: dict[str, Any] = {
        key: value for key, value in arguments.items() if key in CONNECTOR_ARGUMENT_KEYS
    }
    known |= {"_stdin": text, "_timeout": seconds}
    try:
        ok, output = host.run_shell_command(command, **known)
    except BROKEN as error:
        raise DeployError(_error_text(error)) from None
    if not ok:
        raise DeployError(_failure_text(output.stderr or output.stdout))
    return str(output.stdout)


@dataclass
class Run:
    """One run: what it is to do, and what it has done."""

    state: State
    id: str = field(default_factory=lambda: format_time(datetime.now(UTC)))
    sessions: dict[str, Session] = field(default_factory=dict)
    mutex: RLock = field(default_factory=RLock)
    finished: set[str] = field(default_factory=set)
    last_runs: dict[str, dict[str, Any]] | None = None
    _deployment: fleet.Deployment | None = None
    _states: dict[tuple[str, bool], dict[str, Any]] = field(default_factory=dict)
    _unlocked: dict[str, str] | None = None
    _checked: bool = False

    def __post_init__(self) -> None:
        self.own = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.report = Report(self.state)
        for host in self.state.inventory:
            if self.state.is_host_in_limit(host) and not host.connected:
                self.report.unreachable[host.name] = "cannot connect by SSH: see the error above"
        self.state.check_for_changes |= DETECTS_CHANGES
        # pyinfra reports its errors itself; gevent would print a traceback of each besides.
        hub = gevent.get_hub()
        hub.NOT_ERROR = (*hub.NOT_ERROR, PyinfraError)
        for number in SIGNALS:
            signal.signal(number, self._stop)

    @property
    def deployment(self) -> fleet.Deployment:
        """The plans of all hosts of the inventory, made once."""
        if self._deployment is None:
            with self.mutex:
                self._deployment = self._deployment or self._prepare()
        return self._deployment

    def _prepare(self) -> fleet.Deployment:
        try:
            values = fleet.settings_of(self.state.inventory)
            found = fleet.prepare(values, self.report.progress)
        except fleet.ERRORS as error:
            raise DeployError(str(error)) from None
        self.state.active_hosts = _Ordered(self.state.active_hosts, found.serial)
        return found

    @property
    def environment(self) -> str:
        return self.deployment.settings.stack.environment

    def plan(self, host: Host) -> HostPlan:
        return self.deployment.plans[host.name]

    # --- Sessions

    def open(self, name: str) -> bool:
        """Start a session on a host that has a plan; False where it has none or cannot."""
        host = self.state.inventory.get_host(name)
        if host.name not in self.deployment.plans:
            return False
        try:
            self.sessions[host.name] = self._upload(host)
        except DeployError as error:
            self.report.unreachable[host.name] = f"cannot run commands as root: {error}"
            self.state.failed_hosts.add(host)
            self.state.active_hosts.discard(host)
            return False
        disconnect = host.connector.disconnect

        def close_first() -> None:
            self.close(host)
            disconnect()

        host.connector.disconnect = close_first  # type: ignore[method-assign]
        return True

    def _upload(self, host: Host) -> Session:
        if not (host.data.get("_sudo", False) or self.state.config.SUDO):
            self._use_sudo(host)
        folder = f"{AGENTS}/{self.own}"
        program = f"{folder}/agent.pyz"
        script = (
            f"umask 077 && mkdir -p {folder} && base64 -d > {program} && "
            "{ command -v python3 >/dev/null || { echo 'python3: not found' >&2; exit 127; }; }"
        )
        run_command(host, StringCommand(script), _agent(), OPEN_SECONDS)
        return Session(host, program)

    def _use_sudo(self, host: Host) -> None:
        """Where the user is not root. pyinfra asks for a password, which needs a terminal."""
        user = host.get_fact(User, _ignore_errors=True, _timeout=OPEN_SECONDS)
        if user == "root":
            return
        if password := os.environ.get(SUDO_PASSWORD):
            host.data._sudo_password = password
        elif not sys.stdin.isatty():
            run_command(host, StringCommand(TRY_SUDO), "", OPEN_SECONDS)
        host.data._sudo = True

    def close(self, host: Host) -> None:
        """End a session: release its lock and remove the agent from the host."""
        session = self.sessions.pop(host.name, None)
        if session is None:
            return
        try:
            own_run = self.id if session.locked else "none"
            session.ask("leave", most=OPEN_SECONDS, run=own_run, own=self.own)
        except DeployError as error:
            if session.locked:
                self.report.fail(host.name, f"cannot release the lock: {error}")

    def _stop(self, number: int, frame: object) -> NoReturn:
        """Shut down in order, once: stop the operations; pyinfra disconnects then."""
        for other in SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        note("stopped. To continue, run the same command again")
        if self.state.pool is not None:
            self.state.pool.kill(block=False)
        self.report.stopped = True
        raise SystemExit(130)

    # --- State and locks

    def state_of(self, host: Host, request: dict[str, Any]) -> dict[str, Any]:
        """The state of a host: read once to prepare, and once to execute, under its lock."""
        key = (host.name, self.state.is_executing)
        if key not in self._states:
            self._states[key] = self.sessions[host.name].fact(HostState, **request)
        return self._states[key]

    def preflight(self, name: str) -> list[str]:
        """The failed checks of a host. To execute, all hosts are checked before one is changed."""
        with self.mutex:
            found = self.report.failed_checks
            if not self.state.is_executing:
                found[name] = self._check(name)
            elif not self._checked:
                self._checked = True
                jobs = {other: gevent.spawn(self._check, other) for other in self.sessions}
                found |= {other: job.get() for other, job in jobs.items()}
            return found.get(name, [])

    def _check(self, name: str) -> list[str]:
        try:
            facts = self.sessions[name].fact(HostFacts)
        except DeployError as error:
            return [str(error)]
        settings, plan = self.deployment.settings, self.deployment.plans[name]
        return preflight.failed_checks(facts, plan, settings, time.time())

    def lock(self, name: str) -> str:
        """Lock all hosts, once; returns why this one cannot be locked, or an empty text.

        When two runs start at once, the first host's lock decides, so that one of them continues.
        """
        with self.mutex:
            if self._unlocked is None:
                names = [name for name in self.report.active() if name in self.sessions]
                self._unlocked = {names[0]: self._lock(names[0])}
                if not self._unlocked[names[0]]:
                    jobs = {other: gevent.spawn(self._lock, other) for other in names[1:]}
                    self._unlocked |= {other: job.get() for other, job in jobs.items()}
            return self._unlocked.get(name, "")

    def _lock(self, name: str) -> str:
        session = self.sessions[name]
        who = f"{getpass.getuser()}@{socket.gethostname()}"
        mine: dict[str, Any] = {"run": self.id, "who": who, "process": _process()}
        try:
            answer = session.ask("lock", **mine)
            if answer["held"] and _has_ended(answer.get("process")):
                answer = session.ask("lock", **mine, replace=answer["run"])
        except DeployError as error:
            return f"cannot lock this host: {error}"
        session.locked = not answer["held"]
        if session.locked:
            return ""
        return (
            f"cannot deploy: the lock is held by {answer['who']} ({answer['seconds']:.0f} s ago). "
            "Nothing was changed. Wait for that run. If it was killed, run: "
            f"./logstack hosts unlock {self.environment}"
        )

    # --- Failures

    def fail(self, name: str, *texts: str) -> None:
        """Note a failure of a host, in every mode of pyinfra: the exit status will say so."""
        for text in texts:
            self.report.fail(name, text)
        self.state.failed_hosts.add(self.state.inventory.get_host(name))

    def failed(self) -> bool:
        """Whether an operation failed on a host of this run."""
        left = {host.name for host in self.state.failed_hosts} - set(self.report.unreachable)
        checks = any(self.report.failed_checks.values())
        return bool(left or self.report.failures or checks)

    def wait_for(self, name: str) -> None:
        """Wait until the steps of a host are done or failed: pyinfra's --no-wait does not."""
        while name in self.sessions and name not in self.finished and not self.failed():
            gevent.sleep(0.2)
        self.proceed()

    def proceed(self) -> None:
        """Stop this run where an operation has failed on any host. Raises PyinfraError."""
        if self.state.is_executing and self.failed():
            raise PyinfraError("stopped after a failure")


def _process() -> list[str | int]:
    """This process: where its id counts (one start of one machine, one container), and the id."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return [boot, os.stat("/proc/self/ns/pid").st_ino, os.getpid()]  # noqa: PTH116
    except OSError:  # not Linux
        return []


def _has_ended(process: list[str | int] | None) -> bool:
    """Whether a process that held a lock was started here and runs no more."""
    if not process or process[:-1] != _process()[:-1]:
        return False
    return not Path(f"/proc/{process[-1]}").exists()


class _Ordered(set[Host]):
    """Hosts in the order of a deploy: pyinfra's --serial takes them as they come."""

    def __init__(self, hosts: set[Host], first: tuple[str, ...]) -> None:
        super().__init__(hosts)
        self._first = first

    def __iter__(self) -> Iterator[Host]:
        rank = {name: number for number, name in enumerate(self._first)}
        return iter(sorted(super().__iter__(), key=lambda host: rank.get(host.name, len(rank))))


_RUNS: dict[int, Run] = {}


def current_run() -> Run:
    """The run of pyinfra's current state."""
    state = ctx_state.get()
    if id(state) not in _RUNS:
        _RUNS[id(state)] = Run(state)
    return _RUNS[id(state)]


def _error_text(error: Exception) -> str:
    """The error's text; some exceptions have none."""
    if isinstance(error, TimeoutError):
        return "no answer in time. Check that the host is up"
    return str(error) or f"connection lost ({type(error).__name__})"


def _failure_text(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    last = lines[-1] if lines else "no answer, as when a connection breaks"
    if "python3: not found" in text or "python3: command not found" in text:
        return "python3 is not installed on the host. Run on it: apt-get install python3"
    if "a password is required" in text or "is not in the sudoers file" in text:
        return (
            "sudo asks the deploy user for a password. "
            f"Set {SUDO_PASSWORD}, or add a sudoers rule: <user> ALL=(ALL) NOPASSWD: ALL"
        )
    return last
