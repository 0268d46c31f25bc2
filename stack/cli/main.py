"""`logstack`: assembles the commands; a known error is one clear text and exit status 1."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import typer

from dashboards.model import GrafanaError
from stack.alerting import AlertError
from stack.archive import ArchiveError
from stack.artifacts import ArtifactError
from stack.cli import (
    alerts_commands,
    annotate_commands,
    archive_commands,
    checks,
    dashboards_command,
    hosts_commands,
    images_command,
    lifecycle,
    records,
    secrets_commands,
    settings_command,
    traffic_command,
)
from stack.cli.output import say
from stack.docker_engine import DockerError
from stack.engines import EngineError
from stack.hosts import HostsError
from stack.native import NativeError
from stack.secrets import SecretsError
from stack.settings import SettingsError
from stack.smoke import SmokeError
from stack.traffic import TrafficError

KNOWN_ERRORS = (
    AlertError,
    ArchiveError,
    ArtifactError,
    DockerError,
    EngineError,
    GrafanaError,
    HostsError,
    NativeError,
    SecretsError,
    SettingsError,
    SmokeError,
    TrafficError,
)

app = typer.Typer(
    name="logstack",
    help="Central logging for Django back ends: start it, look at logs, check that they arrive.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    lifecycle,
    records,
    checks,
    archive_commands,
    dashboards_command,
    traffic_command,
    settings_command,
    images_command,
):
    group.register(app)
app.add_typer(alerts_commands.app, name="alerts")
app.add_typer(annotate_commands.group, name="annotate")
app.add_typer(secrets_commands.app, name="secrets")
app.add_typer(hosts_commands.app, name="hosts")


def run() -> None:
    """The entry point: no traceback reaches a user for an error that has a name."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        app(prog_name="logstack")
    except (*KNOWN_ERRORS, OSError) as error:
        if "LOGSTACK_TRACEBACK" in os.environ:
            raise
        say(_explain(error), "red")
        sys.exit(1)
    except KeyboardInterrupt:
        say("stopped")
        sys.exit(130)


def _explain(error: Exception) -> str:
    """The text of a known error; which file it was for one of the operating system."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror.lower()}"
    return str(error)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    run()
