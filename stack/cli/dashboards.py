"""`logstack dashboards` and `logstack report`: charts of the logs, with and without Grafana.

Grafana's SDK and Plotly take long to import, so only the commands that need them do it.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from dashboards.check import PanelFinding, check
from dashboards.pages import PAGES
from dashboards.run import TimeRange
from stack import settings
from stack.cli.console import AsJson, note, out, plain, print_json, progress
from stack.cli.environment import Environment, Reader, open_target, require_this_machine
from stack.cli.time_range import time_range
from stack.common.counted import counted
from stack.engines.kinds import KINDS
from stack.queries.evaluate import Evaluator, evaluator_of
from stack.queries.language import Scope
from stack.settings.secrets import write_private

TOKEN_VARIABLE = "GRAFANA_TOKEN"  # noqa: S105 -- the name of a variable

group = typer.Typer(
    help="Grafana dashboards: check, generate, import.\n\nExample: logstack dashboards check"
)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="dashboards", no_args_is_help=True)
    app.command("report")(make_report)


def open_evaluator(environment: str = "", reader: str = "") -> tuple[Evaluator, Scope]:
    """The engine of the stack that runs in this checkout, or of hosts, and its environment."""
    target = open_target(environment, reader)
    return evaluator_of(target), Scope(target.settings.stack.environment)


@group.command("generate")
def generate_command() -> None:
    """Regenerate dashboards/generated/ from dashboards/pages/.

    Example: logstack dashboards generate
    """
    from dashboards import generate

    changed = generate.write()
    for name in changed:
        out.print(f"changed: dashboards/generated/{name}")
    if not changed:
        note("Nothing changed.")


@group.command("check")
def check_command(as_json: AsJson = False) -> None:
    """Run every panel's query on the running engine, over the last hour and over 30 days.

    Exit status 1 when a query fails or takes more than five seconds, or when a panel is empty that
    the sample app's traffic fills.

    Example: logstack traffic --duration 30 && logstack dashboards check
    """
    require_this_machine("check the panels of dashboards")
    evaluator, scope = open_evaluator()
    findings = []
    with progress() as display:
        for finding in check(evaluator, PAGES, scope, datetime.now(UTC)):
            display.update("dashboards", f"{finding.span} {finding.page}: {finding.panel}")
            findings.append(finding)
    bad = [finding for finding in findings if finding.problem]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        out.print(_table(findings))
        for finding in bad:
            text = f"{finding.span} {finding.page}: {finding.panel}: {finding.problem}"
            note(text, "red")
        out.print(f"{counted(len(findings), 'panel')} checked, {len(bad)} with a problem.")
    if bad:
        raise typer.Exit(1)


@group.command("import")
def import_command(
    url: Annotated[str, typer.Option(help="Grafana's address.")],
    token: Annotated[
        str,
        typer.Option(envvar=TOKEN_VARIABLE, help="A service account's token.", show_envvar=True),
    ],
    engine: Annotated[
        str, typer.Option(help="loki or victorialogs; default: stack.engine of the settings.")
    ] = "",
    folder: Annotated[str, typer.Option(help="Folder in Grafana; created if missing.")] = ("Logs"),
    as_json: AsJson = False,
) -> None:
    """Import the dashboards into a Grafana, and report panels that fail or are empty there.

    A second run changes nothing. Dashboards that Logstack did not create are never changed.

    Example: GRAFANA_TOKEN=... logstack dashboards import --url https://grafana.example.com
    """
    from dashboards import grafana_api

    values = settings.load()
    name = engine or values.stack.engine
    if name not in KINDS:
        raise typer.BadParameter(
            f"expected one of {', '.join(KINDS)}, got {name!r}", param_hint="--engine"
        )
    grafana = grafana_api.Grafana(url, token)
    outcomes = grafana_api.import_all(grafana, name, folder)
    panels = grafana_api.check_panels(grafana, name, Scope(values.stack.environment))
    if as_json:
        print_json({"dashboards": outcomes, "panels": panels})
    else:
        for uid, outcome in outcomes.items():
            out.print(f"{uid}: {outcome}")
        for panel, problem in panels.items():
            note(f"{panel}: {problem}", "yellow")
    if any(outcome.startswith("left alone") for outcome in outcomes.values()):
        raise typer.Exit(1)


def make_report(
    since: Annotated[str, typer.Option(help="Start: a duration ago (24h, 7d) or a time.")] = "24h",
    until: Annotated[str, typer.Option(help="End: a duration ago, a time, or now.")] = "now",
    output: Annotated[Path, typer.Option("--out", help="File to write.")] = Path("report.html"),
    environment: Environment = "",
    reader: Reader = "",
) -> None:
    """Write the dashboards as one HTML file that needs no network.

    Example: logstack report --since 24h --out report.html
    """
    start, end = time_range(since, until)
    evaluator, scope = open_evaluator(environment, reader)
    from dashboards import report

    with progress() as display:
        text = report.render(
            evaluator,
            PAGES,
            scope,
            TimeRange(end, end - start),
            on_progress=lambda page: display.update("report", page),
        )
    write_private(output, text)
    note(f"Wrote {os.path.relpath(output)}: open it in a browser. It contains log records.")


def _table(findings: list[PanelFinding]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("range", "page", "panel"):
        table.add_column(heading)
    for heading in ("rows", "ms"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for item in findings:
        style = "red" if item.problem else "dim"
        remark = item.problem.splitlines()[0][:60] if item.problem else item.note
        table.add_row(
            item.span,
            item.page,
            item.panel,
            str(item.rows),
            str(item.milliseconds),
            plain(remark, style),
        )
    return table
