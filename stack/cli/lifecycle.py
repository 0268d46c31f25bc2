"""`logstack up`, `down`, `status` and `clean`; each imports the runtimes that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from stack import settings
from stack.cli.console import (
    AsJson,
    Yes,
    confirm,
    note,
    out,
    print_json,
    print_statuses,
    progress,
    shorten_path,
)
from stack.runtimes import selection as runtime
from stack.runtimes.work_lock import work_lock
from stack.settings.secrets import GRAFANA_PASSWORD, secrets_file
from stack.settings.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack.runtimes import native
    from stack.settings.targets import Target

NEXT_STEPS = (
    ("./logstack smoke", "check that a record arrives, field by field"),
    ("./logstack traffic --rate 20 --duration 30", "send requests to the sample app"),
    ("./logstack logs --follow", "follow its logs"),
)


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(clean)


def up(as_json: AsJson = False) -> None:
    """Build missing components, start everything and wait until it is healthy.

    A second run restarts only what a changed setting affects.

    Example: logstack up
    """
    from stack.runtimes import native
    from stack.runtimes.docker import runtime as docker

    values = settings.load()
    with work_lock(values, "up", note), progress() as display:
        choice = runtime.choose(values, display.update)
        if choice.reason:
            note(f"Runtime: {choice.name}, because {choice.reason}", "dim")
        if choice.name == "docker":
            result = docker.DockerRuntime(values).up(display.update)
        else:
            result = native.up(values, display.update)
    if as_json:
        print_json([item.as_dict() for item in result.statuses], indent=2)
        return
    print_statuses(result.statuses, detailed=False)
    out.print()
    if result.was_running and not result.changed:
        out.print("Already running; nothing changed.")
    elif result.was_running:
        out.print(f"Restarted because their settings changed: {', '.join(result.changed)}.")
    if result.note:
        note(result.note, "yellow")
    for text in remarks(runtime.running(values).target):
        note(text, "yellow")
    out.print("Next:")
    steps = [*NEXT_STEPS, *_grafana_steps(result.statuses)]
    width = max(len(command) for command, _ in steps)
    for command, purpose in steps:
        out.print(f"  {command:<{width}}  {purpose}")


def remarks(target: Target) -> Iterator[str]:
    """What an operator should know of a stack that runs: log files, and who receives alerts."""
    from stack.alerting.audience import audience
    from stack.components.monitor import plan_of
    from stack.monitor.files import examine

    for problem in examine(plan_of(target))[0]:
        yield f"{problem.cause}: {problem.evidence}. Run: {problem.command}"
    yield audience(target)


def _grafana_steps(statuses: list[native.Status]) -> list[tuple[str, str]]:
    """How to read the password of a running Grafana."""
    if not any(item.name == "grafana" for item in statuses):
        return []
    now = runtime.running(settings.load())
    path = shorten_path(str(secrets_file(now.secrets_dir)))
    return [(f"cat {path}", f"Grafana's password of the user admin: {GRAFANA_PASSWORD}")]


def down() -> None:
    """Stop everything and keep the data.

    Example: logstack down
    """
    from stack.runtimes import native

    values = settings.load()
    with work_lock(values, "down", note):
        containers = runtime.running(values).docker
        stopped = containers.down() if containers else native.down(values, _report)
    note(
        "Stopped everything; the data is kept. Start again: make up"
        if stopped
        else "Nothing was running."
    )


def status(as_json: AsJson = False) -> None:
    """Show every component; exit status 1 unless all are healthy.

    Example: logstack status --json
    """
    statuses = runtime.running(settings.load()).statuses()
    if as_json:
        print_json([item.as_dict() for item in statuses], indent=2)
    else:
        print_statuses(statuses)
        if all(item.state == "stopped" for item in statuses):
            note("Nothing runs. Run: make up")
    if not all(item.is_good for item in statuses):
        raise typer.Exit(1)


def clean(
    yes: Yes = False,
) -> None:
    """Stop everything and remove the data, the archive on this machine included.

    Shows what is removed and asks.

    Example: logstack clean --yes
    """
    from stack.runtimes import native, removal
    from stack.runtimes.docker import runtime as docker

    values = settings.load()
    with work_lock(values, "clean", note):
        containers = docker.left_behind(values)
        folders = removal.removable(values)
        if not containers and not folders:
            note("Nothing to remove.")
            return
        if containers:
            note(f"Removes the containers and volumes of {containers.project}")
        for path, size in folders.items():
            note(f"Removes {shorten_path(str(path))} ({format_bytes(size)})")
        for loss in removal.describe_losses(values):
            note(f"  with {loss}", "yellow")
        confirm("Remove all of this?", yes, "remove it", "./logstack clean --yes")
        if containers:
            containers.clean()
        native.down(values, _report)
        removal.remove(values)
    note("Removed. The built binaries stay in the cache.")


def _report(name: str, text: str) -> None:
    note(f"{name}: {text}")
