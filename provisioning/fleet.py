"""The hosts as pyinfra sees them: connected over SSH, one by one or all at once."""

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
# What is sent to hosts, in the order in which one needs the other.
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
# What a connection that breaks raises, from pyinfra, paramiko or the system.
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
    """The hosts in pyinfra's form, by group, each with its connection's data."""
    groups: dict[str, list[tuple[str, dict[str, object]]]] = {}
    for role, group in GROUPS.items():
        members = [name for name in settings.hosts if role in roles_of(settings, name)]
        groups[group] = [(name, _connection(settings, name)) for name in members]
    return groups


def _connection(settings: Settings, name: str) -> dict[str, object]:
    host = settings.hosts[name]
    data: dict[str, object] = {"ssh_hostname": host.address, "ssh_port": host.ssh_port}
    if host.ssh_user:
        data["ssh_user"] = host.ssh_user
    if host.ssh_key:
        data["ssh_key"] = str(Path(host.ssh_key).expanduser())
    return data


def _without_keys(settings: Settings) -> dict[str, str]:
    """The hosts whose key is not there, and what to mend."""
    return {
        name: f"hosts.{name}.ssh_key: wanted a readable file, found none at {host.ssh_key}"
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
        """Run one action of remote.py. Raises DeployError with what the host said.

        `timeout`: how many seconds the action may wait for something itself, which it is told.
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
            raise DeployError(f"{self.name}: {action}: {_what(error)}") from None
        if not ok:
            raise DeployError(f"{self.name}: {action}: {_reason(output.stderr or output.stdout)}")
        try:
            answer: dict[str, Any] = json.loads(output.stdout.strip().splitlines()[-1])
        except (ValueError, IndexError):
            found = output.stdout.strip()[-200:] or "nothing"
            raise DeployError(f"{self.name}: {action}: wanted JSON, found {found}") from None
        return answer


@dataclass
class Fleet:
    """The connected hosts, and why the others are not. A context: leaving it disconnects.

    Entering it raises DeployError where no host can even be tried.
    """

    settings: Settings
    remotes: dict[str, Remote] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Fleet:
        self.silent |= _without_keys(self.settings)
        names = [name for name in self.settings.hosts if name not in self.silent]
        if not names:
            raise DeployError("\n".join(self.silent.values()))
        hosts = [(name, _connection(self.settings, name)) for name in names]
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
        with suppress(PyinfraError):  # raised when not one of them answers
            connect_all(self._state)
        self._state.set_stage(StateStage.Execute)
        self._state.is_executing = True
        for host in inventory:
            if not host.connected:
                self.silent[host.name] = reasons.texts.get(host.name, "no answer")
        found = self.on_each([host.name for host in inventory if host.connected], self._greet)
        for name, result in found.items():
            if isinstance(result, DeployError):
                self.silent[name] = str(result)
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
            raise DeployError(_reason(output.stderr))
        return Remote(name, host, sudo=output.stdout.strip() != "0")

    def on_each(
        self, names: Sequence[str], step: Callable[[str], Result]
    ) -> dict[str, Result | DeployError]:
        """Do a step on several hosts at once; each one's result, or why it has none."""

        def run(name: str) -> Result | DeployError:
            host = self._state.inventory.get_host(name)
            try:
                with ctx_host.use(host):
                    return step(name)
            except DeployError as error:
                return error
            except BROKEN as error:
                return DeployError(f"{name}: {self._errors.last(name) or _what(error)}")

        greenlets = {name: self._state.pool.spawn(run, name) for name in names}
        try:
            return {name: greenlet.get() for name, greenlet in greenlets.items()}
        except BaseException:  # stopped: what is under way must not go on beside what follows
            self._state.pool.kill()
            raise


class _Errors(logging.Handler):
    """What pyinfra would print when an operation fails, kept for the error that ends the step."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(unstyle(record.getMessage()).strip())

    def last(self, name: str) -> str:
        """The newest lines about a host."""
        return "; ".join([line for line in self._lines if f"[{name}]" in line][-3:])


def _make_known_hosts(folder: Path) -> None:
    """The file that keys of hosts seen for the first time are added to; paramiko needs it there."""
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "known_hosts").touch(mode=0o600)


class _ConnectErrors(BaseStateCallback):
    """Remembers why a host cannot be reached; pyinfra only prints it."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def host_connect_error(  # type: ignore[override] # static there, called on an object
        self, state: State, host: Host, error: Exception
    ) -> None:
        self.texts[host.name] = str(error)


def _what(error: Exception) -> str:
    """What broke; some exceptions say nothing."""
    if isinstance(error, TimeoutError):
        return "wanted an answer in time, found none. Is the host still there?"
    return str(error) or f"the connection broke off ({type(error).__name__})"


def _reason(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    last = lines[-1] if lines else "no reason given"
    if "python3: not found" in text or "python3: command not found" in text:
        return "wanted python3 on the host, found none. Type there: apt-get install python3"
    if "a password is required" in text or "is not in the sudoers file" in text:
        return (
            "wanted a user who may use sudo without a password, found that it asks for one. "
            "Add a rule for the deploy user: <user> ALL=(ALL) NOPASSWD: ALL"
        )
    return last


def results_of(results: Mapping[str, Result | DeployError]) -> dict[str, Result]:
    """What the steps that did not fail returned, by host."""
    return {name: item for name, item in results.items() if not isinstance(item, DeployError)}


def errors_of(results: Mapping[str, object]) -> dict[str, str]:
    """The texts of the steps that failed, by host."""
    return {name: str(item) for name, item in results.items() if isinstance(item, DeployError)}
