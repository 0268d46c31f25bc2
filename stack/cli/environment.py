"""Which stack a command works on: the one of this machine, or the hosts of an environment.

LOGSTACK_ENV means the same as --env. What is needed for hosts takes long to import.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from stack import settings
from stack.cli.console import note
from stack.runtimes import selection as runtime
from stack.settings import ENV_VARIABLE, READER_VARIABLE, SettingsError
from stack.settings.targets import Target

Environment = Annotated[
    str,
    typer.Option("--env", envvar=ENV_VARIABLE, help="Read the hosts of this environment instead."),
]
Reader = Annotated[
    str,
    typer.Option(
        "--reader",
        envvar=READER_VARIABLE,
        help="With --env: the user, of gateway.readers; default: the first with a password.",
    ),
]


def open_target(environment: str, reader: str, *, rules: bool = False) -> Target:
    """The stack of this checkout, or a log server of an environment. Raises HostsError."""
    if not environment:
        return runtime.running(settings.load()).target
    from stack.hosts import reading, secrets

    values = settings.load_for_hosts(environment)
    known = secrets.read(secrets.secrets_path(environment), values)
    return reading.connect(
        values, known, reader, rules=rules, report=lambda text: note(text, "dim")
    )


def require_this_machine(action: str) -> None:
    """Raises SettingsError where LOGSTACK_ENV names hosts, on which `action` is not possible."""
    if name := os.environ.get(ENV_VARIABLE):
        raise SettingsError(
            f"cannot {action}: {ENV_VARIABLE} names the hosts of {name}, and this works only in "
            f"the stack of this machine. Run: unset {ENV_VARIABLE}"
        )
