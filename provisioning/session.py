"""A session on one host: the agent is uploaded, asked and answers."""

from __future__ import annotations

import base64
import io
import json
import os
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paramiko import SSHException
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host
from pyinfra.facts.server import User

from provisioning import DeployError
from provisioning.agent.locks import AGENTS
from stack.hosts.secrets import variable_of

# Exceptions of a broken connection, from pyinfra, paramiko or the system.
BROKEN = (PyinfraError, SSHException, OSError, EOFError)
ASK_SECONDS = 180
OPEN_SECONDS = 20
SUDO_PASSWORD = variable_of("sudo_password")
# With words of its own: pyinfra would ask for a password where it reads those of sudo.
TRY_SUDO = "sudo -n true 2>/dev/null || { echo sudo: a password is required here >&2; exit 1; }"
_MAIN = "from provisioning.agent.main import main\n\nmain()\n"


@dataclass
class Session:
    """The agent of one run on one host."""

    host: Host
    program: str
    locked: bool = False
    before: dict[str, Any] = field(default_factory=dict)  # of earlier runs, as of the lock

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
        raise DeployError(error_text(error)) from None
    if not ok:
        raise DeployError(_failure_text(output.stderr or output.stdout))
    return str(output.stdout)


def open_session(host: Host, own: str) -> Session:
    """Upload the agent to a folder of its own. Raises DeployError."""
    if not (host.data.get("_sudo", False) or host.state.config.SUDO):
        _use_sudo(host)
    folder = f"{AGENTS}/{own}"
    program = f"{folder}/agent.pyz"
    script = (
        f"umask 077 && mkdir -p {folder} && base64 -d > {program} && "
        "{ command -v python3 >/dev/null || { echo 'python3: not found' >&2; exit 127; }; }"
    )
    run_command(host, StringCommand(script), _agent(), OPEN_SECONDS)
    return Session(host, program)


def _use_sudo(host: Host) -> None:
    """Where the user is not root. pyinfra asks for a password, which needs a terminal."""
    user = host.get_fact(User, _ignore_errors=True, _timeout=OPEN_SECONDS)
    if user == "root":
        return
    if password := os.environ.get(SUDO_PASSWORD):
        host.data._sudo_password = password
    elif not (host.data.get("_sudo_password") or sys.stdin.isatty()):
        run_command(host, StringCommand(TRY_SUDO), "", OPEN_SECONDS)
    host.data._sudo = True


def _agent() -> str:
    """The package that runs on hosts, as a zip file that Python starts, in base64."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted((Path(__file__).parent / "agent").glob("*.py")):
            file.write(path, f"provisioning/agent/{path.name}")
        file.writestr("provisioning/__init__.py", "")
        file.writestr("__main__.py", _MAIN)
    return base64.encodebytes(data.getvalue()).decode()


def error_text(error: Exception) -> str:
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
