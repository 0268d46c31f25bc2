"""`logstack doctor`: compare what is running with the settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from stack import settings
from stack.archive.checks import Finding
from stack.archive.context import open_native
from stack.checks import doctor
from stack.cli.console import AsJson, out, plain, print_json
from stack.cli.time_range import clock
from stack.runtimes import selection as runtime
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
    """Check programs, disks, log files, records, rules, retention and archive.

    Each finding has its cause, the evidence and the command to run; exits with 1 on a problem.

    Example: logstack doctor --env staging
    """
    if environment:
        from stack.cli import hosts  # slow to import, and needed here alone

        hosts.run_on_hosts("doctor.py", environment, "--yes", *(["--json"] if as_json else []))
        return
    now = runtime.running(settings.load())
    if now.docker:
        findings = doctor.run_in_docker(now)
    else:
        with open_native(now.target, clock()) as archive:
            findings = doctor.run(archive, now.target)
    if as_json:
        print_json([asdict(item) for item in findings], indent=2)
    else:
        print_findings(findings)
    if not all(item.ok for item in findings):
        raise typer.Exit(1)


def print_findings(findings: Iterable[Finding]) -> None:
    """One row per finding; below a cause its evidence and the command."""
    table = Table("", "check", "found", box=None, pad_edge=False, header_style="bold")
    for item in findings:
        mark = Text("✓", "green") if item.ok else Text("✗", "bold red")
        command = f"Run: {item.command}" if item.command else ""
        lines = (item.text, item.evidence, command)
        table.add_row(mark, item.check, plain("\n".join(filter(None, lines))))
    out.print(table)
