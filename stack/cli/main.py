"""`logstack`: assembles the commands; a known error is one clear text and exit status 1."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn

import typer

from stack.cli.console import say

# Which module of stack/cli/ has which commands: only the one that is asked for is imported.
MODULES = {
    "lifecycle": ("up", "down", "status", "clean"),
    "logs": ("logs", "query"),
    "smoke": ("smoke",),
    "archive": ("doctor", "archive"),
    "dashboards": ("dashboards", "report"),
    "traffic": ("traffic",),
    "settings": ("settings",),
    "images": ("images",),
    "alerts": ("alerts",),
    "annotate": ("annotate",),
    "secrets": ("secrets",),
    "hosts": ("hosts",),
}
KNOWN_ERRORS = {
    "dashboards.model": "GrafanaError",
    "stack.alerting": "AlertError",
    "stack.archive": "ArchiveError",
    "stack.artifacts": "ArtifactError",
    "stack.runtimes.docker.engine": "DockerError",
    "stack.engines": "EngineError",
    "stack.hosts": "HostsError",
    "stack.runtimes.native": "NativeError",
    "stack.settings.secrets": "SecretsError",
    "stack.settings": "SettingsError",
    "stack.checks.smoke": "SmokeError",
    "stack.traffic.run": "TrafficError",
}


def build_app(command: str = "") -> typer.Typer:
    """The commands: those of the module that has `command`, or, where none has, all."""
    app = typer.Typer(
        name="logstack",
        help="Central logging for Django back ends: start it, look at logs, check that they "
        "arrive.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    chosen = [module for module, names in MODULES.items() if command in names] or MODULES
    for module in chosen:
        import_module(f"stack.cli.{module}").register(app)

    @app.callback()
    def _group() -> None:
        """Also one command alone is a group of commands."""

    return app


def is_known(error: Exception) -> bool:
    """Whether its text is meant for people. Its module has been imported, or it is none of them."""
    known = [
        getattr(sys.modules[module], name)
        for module, name in KNOWN_ERRORS.items()
        if module in sys.modules
    ]
    return isinstance(error, (*known, OSError))


def run() -> None:
    """The entry point: no traceback reaches a user for an error that has a name."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    if isinstance(sys.stdout, TextIOWrapper):  # what the terminal cannot show is no error
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        build_app(sys.argv[1] if len(sys.argv) > 1 else "")(prog_name="logstack")
    except Exception as error:
        if "LOGSTACK_TRACEBACK" in os.environ or not is_known(error):
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
