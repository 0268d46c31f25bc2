"""`logstack doctor`: compare what is running with the settings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from stack.archive.context import open_native
from stack.checks import doctor
from stack.cli.archive import running_target
from stack.cli.console import AsJson, out, print_json
from stack.cli.time_range import clock
from stack.settings import ENV_VARIABLE


def register(app: typer.Typer) -> None:
    app.command("doctor")(diagnose)


def diagnose(
    as_json: AsJson = False,
    environment: Annotated[
        str,
        typer.Option(
            "--env", envvar=ENV_VARIABLE, help="Check the hosts of this environment instead."
        ),
    ] = "",
) -> None:
    """Check that rules, retention and archive of the running stack are as the settings say.

    Example: logstack doctor --env staging
    """
    if environment:
        from stack.cli import hosts  # slow to import, and needed here alone

        hosts.run_on_hosts("doctor.py", environment, "--yes")
        return
    target = running_target()
    with open_native(target, clock()) as archive:
        findings = doctor.run(archive, target)
    if as_json:
        print_json([asdict(item) for item in findings], indent=2)
    else:
        table = Table("", "check", "found", box=None, pad_edge=False, header_style="bold")
        for item in findings:
            mark = Text("✓", "green") if item.ok else Text("✗", "bold red")
            table.add_row(mark, item.check, item.text)
        out.print(table)
    if not all(item.ok for item in findings):
        raise typer.Exit(1)
