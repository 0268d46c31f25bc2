"""`logstack smoke`: an end-to-end check with one record."""

from __future__ import annotations

from dataclasses import asdict

import typer

from stack import settings
from stack.checks import smoke
from stack.cli.console import AsJson, out, print_json
from stack.cli.environment import require_this_machine
from stack.common.counted import counted
from stack.engines.factory import engine_of
from stack.runtimes import selection as runtime


def register(app: typer.Typer) -> None:
    app.command("smoke")(run)


def run(as_json: AsJson = False) -> None:
    """Send one record through the application's logging and compare every field.

    Example: logstack smoke
    """
    require_this_machine("send a record through the pipeline")
    now = runtime.running(settings.load())
    result = smoke.run(now.target, engine_of(now.target), smoke.writer_of(now))
    if as_json:
        print_json(asdict(result))
        return
    out.print(
        f"One record with {counted(result.fields, 'field')} came back unchanged, "
        f"{result.seconds:.2f} s "
        f"after it was written ({result.marker})."
    )
