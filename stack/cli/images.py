"""`logstack images build`: images for machines without access to a registry."""

from __future__ import annotations

from typing import Annotated

import typer

from stack import artifacts, settings
from stack.cli.console import out, progress
from stack.runtimes.docker import images
from stack.runtimes.docker.engine import DockerError, check_engine, compose_command

group = typer.Typer(no_args_is_help=True, help="Local images of the components.")


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="images")


@group.callback()
def main() -> None:
    """Local images of the components."""


@group.command()
def build(
    base: Annotated[
        str, typer.Option(help="Base image with python3 for the sample app, or: debootstrap.")
    ] = "",
) -> None:
    """Build images of VictoriaLogs, vmalert, Alertmanager, the collector and the sample app.

    Example: logstack images build --base debootstrap
    """
    values = settings.load()
    with progress() as display:
        try:
            compose_command(values)
        except DockerError:
            plugin = artifacts.compose_plugin(values)
            artifacts.ensure_all(values, display.update, {plugin.name: plugin})
        check_engine(values)
        built = images.build_all(values, display.update, base)
    for name in built:
        out.print(name)
