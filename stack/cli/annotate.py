"""`logstack annotate`: records of deployments, which charts show as vertical lines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from stack import settings
from stack.cli.console import AsJson, note, print_json
from stack.engines import Record
from stack.engines.factory import engine_of
from stack.queries.catalogue import DEPLOYED
from stack.records.timestamps import format_time
from stack.runtimes import selection as runtime
from stack.settings import Settings

group = typer.Typer(
    help="Add deployment annotations to dashboards.",
    no_args_is_help=True,
)


def register(parent: typer.Typer) -> None:
    parent.add_typer(group, name="annotate")


@group.callback()
def _group() -> None:
    """Add deployment annotations to dashboards."""


@group.command("deploy")
def deploy(
    version: Annotated[str, typer.Option(help="The version that is now live.")],
    service: Annotated[str, typer.Option(help="The service; default: the sample app.")] = "",
    environment: Annotated[
        str, typer.Option(help="The environment; default: stack.environment of the settings.")
    ] = "",
    message: Annotated[str, typer.Option(help="Text of the annotation.")] = "",
    as_json: AsJson = False,
) -> None:
    """Record that a version went live: charts of that environment show a line at this time.

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
        note(f"{record['message']} ({record['service_name']}, {record['environment']})")


def deployment(
    values: Settings,
    moment: datetime,
    *,
    version: str,
    service: str = "",
    environment: str = "",
    message: str = "",
) -> Record:
    """The record of a deployment, in the form of the record contract."""
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
