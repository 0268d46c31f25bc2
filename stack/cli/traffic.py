"""`logstack traffic`: generate load for the sample app."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from stack import settings
from stack.cli.console import AsJson, out, print_json, progress
from stack.cli.environment import require_this_machine
from stack.common.counted import counted
from stack.runtimes import selection as runtime
from stack.traffic import run as traffic


def register(app: typer.Typer) -> None:
    app.command("traffic")(run)


def run(
    rate: Annotated[float, typer.Option(help="Requests per second.")] = 20.0,
    duration: Annotated[float, typer.Option(help="Duration in seconds.")] = 30.0,
    seed: Annotated[int, typer.Option(help="The same seed sends the same requests.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Send the sample app a realistic mix of requests, valid and invalid.

    Example: logstack traffic --rate 50 --duration 20
    """
    require_this_machine("send requests to the sample app")
    now = runtime.running(settings.load())
    password = now.secrets()["LOGSTACK_SAMPLE_PASSWORD"]
    with progress() as display:
        report = traffic.run(
            now.target.url("sample_app"),
            rate=rate,
            duration=duration,
            seed=seed,
            password=password,
            on_progress=lambda done, total: display.update("requests", f"{done} of {total}"),
        )
    if as_json:
        print_json(asdict(report))
    else:
        _print(report)
    if report.interrupted:
        raise typer.Exit(130)
    if report.errors or report.unexpected:
        raise typer.Exit(1)


def _print(report: traffic.TrafficReport) -> None:
    out.print(
        f"{report.requests} of {counted(report.planned, 'request')} at "
        f"{report.achieved_rate:.1f}/s, "
        f"p50 {report.p50_ms:.0f} ms, p95 {report.p95_ms:.0f} ms"
    )
    for heading, counts in (
        ("responses", report.by_status),
        ("actions", report.by_kind),
        ("unexpected responses", report.unexpected),
        ("without a response", report.errors),
    ):
        if counts:
            texts = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
            out.print(f"{heading}: {texts}")
