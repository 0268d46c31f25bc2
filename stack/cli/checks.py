"""`logstack smoke`: proves the whole way of a record."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from stack import native, settings, smoke
from stack.cli.lifecycle import AsJson
from stack.cli.output import out
from stack.engines.factory import engine_of
from stack.secrets import sample_app_secrets
from stack.targets import native as native_target


def register(app: typer.Typer) -> None:
    app.command("smoke")(run)


def run(as_json: AsJson = False) -> None:
    """Write one record through the app's own logging and read it back, field by field.

    Example: logstack smoke
    """
    target = native_target(native.running_settings(settings.load()))
    result = smoke.run(target, engine_of(target), sample_app_secrets(target.data_dir))
    if as_json:
        out.print(json.dumps(asdict(result)))
        return
    out.print(
        f"One record with {result.fields} fields came back as it was written, "
        f"{result.seconds:.2f} s after it was made ({result.marker})."
    )
