"""`logstack annotate`: records of what was done to the systems, which charts show as lines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from stack import settings
from stack.cli.console import AsJson, print_json, say
from stack.engines import Record
from stack.engines.factory import engine_of
from stack.queries.catalogue import DEPLOYED
from stack.records.timestamps import format_time
from stack.runtimes import selection as runtime
from stack.settings import Settings

group = typer.Typer(
    help="Mark what happened in every chart.\n\nExample: logstack annotate deploy --version 1.4.2",
    no_args_is_help=True,
)


def register(parent: typer.Typer) -> None:
    parent.add_typer(group, name="annotate")


@group.callback()
def _group() -> None:
    """Mark what happened in every chart."""


@group.command("deploy")
def deploy(
    version: Annotated[str, typer.Option(help="What is live now.")],
    service: Annotated[str, typer.Option(help="Of which service; empty: the sample app.")] = "",
    environment: Annotated[
        str, typer.Option(help="Where; empty: settings.stack.environment.")
    ] = "",
    message: Annotated[str, typer.Option(help="Text of the mark.")] = "",
    as_json: AsJson = False,
) -> None:
    """Log that a version went live; charts of that environment show a line from then on.

    Example: logstack annotate deploy --version 1.4.2 --service erp-backend-api
    """
    now = runtime.running(settings.load())
    record = deployment(
        now.target.settings,
        datetime.now(UTC),
        version=version,
        service=service,
        environment=environment,
        message=message,
    )
    engine_of(now.target).push([record])
    if as_json:
        print_json(record)
    else:
        say(f"{record['message']} ({record['service_name']}, {record['environment']})")


def deployment(
    values: Settings,
    moment: datetime,
    *,
    version: str,
    service: str = "",
    environment: str = "",
    message: str = "",
) -> Record:
    """The record of the contract that says so."""
    return {
        "timestamp": format_time(moment),
        "level": "INFO",
        "logger_name": "logstack.annotate",
        "message": message or f"Version {version} is live",
        "service_name": service or values.sample_app.service,
        "environment": environment or values.stack.environment,
        "host": values.host,
        "event_type": DEPLOYED,
        "version": version,
    }
