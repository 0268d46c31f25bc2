"""`logstack smoke`: proves the whole way of a record."""

from __future__ import annotations

from dataclasses import asdict

import typer

from stack import settings
from stack.checks import smoke
from stack.cli.console import AsJson, out, print_json
from stack.engines.factory import engine_of
from stack.runtimes import selection as runtime


def register(app: typer.Typer) -> None:
    app.command("smoke")(run)


def run(as_json: AsJson = False) -> None:
    """Write one record through the app's own logging and read it back, field by field.

    Example: logstack smoke
    """
    now = runtime.running(settings.load())
    result = smoke.run(now.target, engine_of(now.target), smoke.writer_of(now))
    if as_json:
        print_json(asdict(result))
        return
    out.print(
        f"One record with {result.fields} fields came back as it was written, "
        f"{result.seconds:.2f} s after it was made ({result.marker})."
    )
