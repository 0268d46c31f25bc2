"""`logstack`: assembles the commands; a known error is one message and exit status 1."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from io import TextIOWrapper
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup, TyperOption

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter
    from typer._click.shell_completion import CompletionItem

    from stack.records.timestamps import Clock

# Each command, its module in stack/cli/, and its line in `logstack --help`: help and completion
# import no module, a command only its own.
COMMANDS = {
    "up": ("lifecycle", "Build what is missing, start everything, wait until healthy."),
    "down": ("lifecycle", "Stop everything and keep the data."),
    "status": ("lifecycle", "Show every component; exits with 1 unless all are healthy."),
    "clean": ("lifecycle", "Stop everything and remove the data."),
    "logs": ("logs", "Show the newest records, or follow new ones."),
    "query": ("logs", "Run a raw LogsQL or LogQL query."),
    "explain": ("explain", "Show what record a line becomes, and which rule read each field."),
    "import": ("history", "Bring older log files into the engine, under their own times."),
    "smoke": ("smoke", "Send one record through the pipeline, compare every field."),
    "doctor": ("doctor", "Find what is wrong: programs, disks, records, rules, archive."),
    "report": ("dashboards", "Write the dashboards as one HTML file."),
    "traffic": ("traffic", "Send the sample app a realistic mix of requests."),
    "settings": ("settings", "List every setting, its value and where it comes from."),
    "archive": ("archive", "The one-year archive: export, verify, search, restore, erase."),
    "dashboards": ("dashboards", "Grafana dashboards: check, generate, import."),
    "images": ("images", "Local images of the components."),
    "alerts": ("alerts", "Alert rules and notification channels."),
    "annotate": ("annotate", "Add deployment annotations to dashboards."),
    "secrets": ("secrets", "The secrets of an environment's hosts."),
    "hosts": ("hosts", "Deploy to the hosts of staging and production over SSH."),
}
METAVARS = {"str": "TEXT", "list[str]": "TEXT", "int": "NUMBER", "float": "NUMBER", "Path": "FILE"}
KNOWN_ERRORS = {
    "dashboards.model": "GrafanaError",
    "stack.alerting": "AlertError",
    "stack.archive": "ArchiveError",
    "stack.artifacts": "ArtifactError",
    "stack.runtimes.docker.engine": "DockerError",
    "stack.engines": "EngineError",
    "stack.hosts": "HostsError",
    "stack.runtimes.history": "HistoryError",
    "stack.runtimes.native": "NativeError",
    "stack.runtimes.single_run": "AgentError",
    "stack.settings.secrets": "SecretsError",
    "stack.settings": "SettingsError",
    "stack.checks.smoke": "SmokeError",
    "stack.traffic.run": "TrafficError",
}


class LazyCommands(Mapping[str, "Command"]):
    """The commands by name, each imported on first use."""

    def __getitem__(self, name: str) -> Command:
        module = import_module(f"stack.cli.{COMMANDS[name][0]}")
        app = typer.Typer(rich_markup_mode=None)
        app.callback()(lambda: None)  # makes a group even of a single command
        module.register(app)
        command = typer.main.get_group(app).commands[name]
        _set_metavars(command)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _set_metavars(command: Command) -> None:
    """Name the values of options as `--since TEXT`, where Typer writes `<str>`."""
    for option in command.params:
        if isinstance(option, TyperOption) and option.metavar is None:
            option.metavar = METAVARS.get(option.bare_type())
    for member in getattr(command, "commands", {}).values():
        _set_metavars(member)


class LazyGroup(TyperGroup):
    """`logstack` itself: lists and completes its commands without importing them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = LazyCommands()  # type: ignore[assignment] # no command is added later

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
        from typer._click.shell_completion import CompletionItem

        return [
            CompletionItem(name, help=summary)
            for name, (_, summary) in COMMANDS.items()
            if name.startswith(incomplete)
        ]


def build_app() -> typer.Typer:
    """`logstack` with every command."""
    app = typer.Typer(
        cls=LazyGroup,
        name="logstack",
        help="Central logging for Django back ends: start it, search logs, check the pipeline.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # importing it takes longer than most commands
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    return app


def _show_version(asked: bool) -> None:
    if not asked:
        return
    from importlib.metadata import version

    from stack import settings  # `--help` needs no module of a command

    print(f"logstack {version('logstack')}")  # noqa: T201
    for name, number in settings.load().versions:
        print(f"{name} {number}")  # noqa: T201
    raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show this version, and those of the programs that the settings ask for.",
        ),
    ] = False,
) -> None: ...


def is_known(error: Exception) -> bool:
    """Whether it is one of KNOWN_ERRORS or OSError, whose message is shown without a traceback.

    Where the module of an error class was not imported, `error` is not of that class.
    """
    known = [
        getattr(sys.modules[module], name)
        for module, name in KNOWN_ERRORS.items()
        if module in sys.modules
    ]
    return isinstance(error, (*known, OSError))


def run(clock: Clock | None = None) -> None:
    """The entry point: users see no traceback for a known error.

    `clock` is what the archive and time ranges take for the current time, in tests.
    """
    from stack.cli import inherited  # `--help` needs no module of a command

    inherited.correct(os.environ)
    # In the locale C, arguments that are UTF-8 would be other characters.
    sys.argv[1:] = [os.fsencode(text).decode("utf-8", "surrogateescape") for text in sys.argv[1:]]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    if isinstance(sys.stdout, TextIOWrapper):  # print what it cannot encode as an escape
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        build_app()(prog_name="logstack", obj=clock)
    except Exception as error:
        if "LOGSTACK_TRACEBACK" in os.environ or not is_known(error):
            raise
        from stack.cli.console import note  # imports rich, which `--help` does not need

        note(_explain(error), "red")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)


def _explain(error: Exception) -> str:
    """The message of a known error, with the file name for an OSError."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror.lower()}"
    return str(error)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    run()
