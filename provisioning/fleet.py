"""The hosts in pyinfra: SSH connections, used one at a time or in parallel."""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from click import unstyle
from paramiko import SSHException
from pyinfra.api.command import StringCommand
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all, disconnect_all
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import BaseStateCallback, State, StateStage
from pyinfra.context import ctx_host, ctx_state

from provisioning import DeployError, refuse_as_deploy
from stack.hosts.roles import roles_of
from stack.settings import Settings

refuse_as_deploy(__name__)

Result = TypeVar("Result")
# The modules that are sent to hosts, each after those that it imports.
MODULES = {
    f"provisioning.{name}": Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    for name in ("remote_base", "remote_changes", "remote")
}
LOADER = """
import json, sys, types
request = json.load(sys.stdin)
sys.modules["provisioning"] = types.ModuleType("provisioning")
for name, text in request.pop("modules"):
    sys.modules[name] = types.ModuleType(name)
    exec(text, sys.modules[name].__dict__)
sys.modules["provisioning.remote"].main(request)
"""
RUN = f"python3 -c {shlex.quote(LOADER)}"
# Exceptions of a broken connection, from pyinfra, paramiko or the system.
BROKEN = (PyinfraError, SSHException, OSError, EOFError)
CONNECT_SECONDS = 10
ASK_SECONDS = 180
GROUPS = {
    "log_server": "log_servers",
    "app_host": "app_hosts",
    "dashboards": "dashboards",
    "alerting": "alerting",
    "archive": "archive",
}


def groups_of(settings: Settings) -> dict[str, list[tuple[str, dict[str, object]]]]:
    """The hosts as pyinfra's inventory data: by group, each with its connection data."""
    groups: dict[str, list[tuple[str, dict[str, object]]]] = {}
    for role, group in GROUPS.items():
        members = [name for name in settings.hosts if role in roles_of(settings, name)]
        groups[group] = [(name, _connection_data(settings, name)) for name in members]
    return groups


def _connection_data(settings: Settings, name: str) -> dict[str, object]:
    host = settings.hosts[name]
    data: dict[str, object] = {"ssh_hostname": host.address, "ssh_port": host.ssh_port}
    if host.ssh_user:
        data["ssh_user"] = host.ssh_user
    if host.ssh_key:
        data["ssh_key"] = str(Path(host.ssh_key).expanduser())
    return data


def _unreadable_keys(settings: Settings) -> dict[str, str]:
    """The hosts whose SSH key cannot be read, each with the error."""
    return {
        name: f"hosts.{name}.ssh_key: expected a readable file, got {host.ssh_key}"
        for name, host in settings.hosts.items()
        if host.ssh_key and not os.access(Path(host.ssh_key).expanduser(), os.R_OK)
    }


@dataclass
class Remote:
    """One connected host. `sudo`: whether its user is not root."""

    name: str
    host: Host
    sudo: bool = True

    def ask(self, action: str, *, timeout: float | None = None, **values: object) -> dict[str, Any]:
        """Run one action of remote.py. Raises DeployError with the host's error.

        `timeout`: how many seconds the action itself may wait; passed on to it.
        """
        if timeout is not None:
            values["timeout"] = timeout
        request = json.dumps({"modules": list(MODULES.items()), "action": action, **values})
        seconds = ASK_SECONDS + int(timeout or 0)
        try:
            ok, output = self.host.run_shell_command(
                StringCommand(RUN), _sudo=self.sudo, _stdin=request, _timeout=seconds
            )
        except BROKEN as error:
            raise DeployError(f"{self.name}: {action}: {_error_text(error)}") from None
        if not ok:
            raise DeployError(
                f"{self.name}: {action}: {_failure_text(output.stderr or output.stdout)}"
            )
        try:
            answer: dict[str, Any] = json.loads(output.stdout.strip().splitlines()[-1])
        except (ValueError, IndexError):
            answered = output.stdout.strip()[-200:] or "nothing"
            raise DeployError(f"{self.name}: {action}: expected JSON, got {answered}") from None
        return answer


@dataclass
class Fleet:
    """The connected hosts, and the errors of the others. A context manager that disconnects.

    Entering it raises DeployError if no host can be tried.
    """

    settings: Settings
    remotes: dict[str, Remote] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Fleet:
        self.unreachable |= _unreadable_keys(self.settings)
        names = [name for name in self.settings.hosts if name not in self.unreachable]
        if not names:
            raise DeployError("\n".join(self.unreachable.values()))
        hosts = [(name, _connection_data(self.settings, name)) for name in names]
        inventory = Inventory((hosts, {}))  # type: ignore[no-untyped-call]
        config = Config(CONNECT_TIMEOUT=CONNECT_SECONDS)  # type: ignore[no-untyped-call]
        self._state = State(inventory, config)
        ctx_state.set(self._state)  # type: ignore[no-untyped-call]
        self._state.set_stage(StateStage.Connect)
        _make_known_hosts(Path.home() / ".ssh")
        self._errors = _Errors()
        logger = logging.getLogger("pyinfra")
        logger.propagate = False
        logger.handlers = [self._errors]
        reasons = _ConnectErrors()
        self._state.add_callback_handler(reasons)  # type: ignore[no-untyped-call]
        with suppress(PyinfraError):  # raised when no host answers
            connect_all(self._state)
        self._state.set_stage(StateStage.Execute)
        self._state.is_executing = True
        for host in inventory:
            if not host.connected:
                self.unreachable[host.name] = reasons.texts.get(host.name, "no answer")
        found = self.on_each([host.name for host in inventory if host.connected], self._greet)
        for name, result in found.items():
            if isinstance(result, DeployError):
                self.unreachable[name] = str(result)
            else:
                self.remotes[name] = result
        return self

    def __exit__(self, *_: object) -> None:
        disconnect_all(self._state)
        ctx_state.reset()

    def _greet(self, name: str) -> Remote:
        host = self._state.inventory.get_host(name)
        ok, output = host.run_shell_command(StringCommand("id -u"), _timeout=CONNECT_SECONDS)
        if not ok:
            raise DeployError(_failure_text(output.stderr))
        return Remote(name, host, sudo=output.stdout.strip() != "0")

    def on_each(
        self, names: Sequence[str], step: Callable[[str], Result]
    ) -> dict[str, Result | DeployError]:
        """Run a step on several hosts in parallel; returns each host's result or its error."""

        def run(name: str) -> Result | DeployError:
            host = self._state.inventory.get_host(name)
            try:
                with ctx_host.use(host):
                    return step(name)
            except DeployError as error:
                return error
            except BROKEN as error:
                return DeployError(f"{name}: {self._errors.last(name) or _error_text(error)}")

        greenlets = {name: self._state.pool.spawn(run, name) for name in names}
        try:
            return {name: greenlet.get() for name, greenlet in greenlets.items()}
        except BaseException:  # interrupted: the steps must not run on beside the clean-up
            self._state.pool.kill()
            raise


class _Errors(logging.Handler):
    """Collects what pyinfra prints when an operation fails, for the step's error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(unstyle(record.getMessage()).strip())

    def last(self, name: str) -> str:
        """The last lines about a host."""
        return "; ".join([line for line in self._lines if f"[{name}]" in line][-3:])


def _make_known_hosts(folder: Path) -> None:
    """Create the file that new hosts' keys are added to; paramiko needs it to exist."""
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "known_hosts").touch(mode=0o600)


class _ConnectErrors(BaseStateCallback):
    """Collects why hosts cannot be reached; pyinfra only prints it."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def host_connect_error(  # type: ignore[override] # static there, called on an object
        self, state: State, host: Host, error: Exception
    ) -> None:
        self.texts[host.name] = str(error)


def _error_text(error: Exception) -> str:
    """The error's text; some exceptions have none."""
    if isinstance(error, TimeoutError):
        return "no answer in time. Check that the host is up"
    return str(error) or f"connection lost ({type(error).__name__})"


def _failure_text(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    last = lines[-1] if lines else "no reason given"
    if "python3: not found" in text or "python3: command not found" in text:
        return "python3 is not installed on the host. Run on it: apt-get install python3"
    if "a password is required" in text or "is not in the sudoers file" in text:
        return (
            "sudo asks the deploy user for a password. "
            "Add a sudoers rule: <user> ALL=(ALL) NOPASSWD: ALL"
        )
    return last


def results_of(results: Mapping[str, Result | DeployError]) -> dict[str, Result]:
    """The results of the steps that succeeded, by host."""
    return {name: item for name, item in results.items() if not isinstance(item, DeployError)}


def errors_of(results: Mapping[str, object]) -> dict[str, str]:
    """The errors of the steps that failed, by host."""
    return {name: str(item) for name, item in results.items() if isinstance(item, DeployError)}
