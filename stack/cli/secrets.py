"""`logstack secrets`: makes, lists and renews the secrets of an environment; shows none."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from stack import settings
from stack.cli.console import out, shorten_path
from stack.hosts import secrets

app = typer.Typer(
    help="The secrets of an environment's hosts. Values are never printed.", no_args_is_help=True
)


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="secrets")


Environment = Annotated[str, typer.Argument(help="The environment: staging, prod, …")]


@app.command()
def init(environment: Environment) -> None:
    """Make what is missing: passwords, the authority, certificates. A second run changes nothing.

    Example: logstack secrets init staging
    """
    values = settings.load_for_hosts(environment)
    path = secrets.secrets_path(environment)
    made = secrets.init(path, values)
    for name in made:
        out.print(f"made {name}")
    where = shorten_path(str(path))
    out.print(f"{len(made)} made, {len(secrets.wanted(values)) - len(made)} known, kept in {where}")


@app.command()
def rotate(
    environment: Environment,
    name: Annotated[str, typer.Argument(help="The secret, as `secrets names` lists it.")],
) -> None:
    """Make one secret anew. The next deploy brings it to the hosts.

    Example: logstack secrets rotate staging writer_app-1
    """
    made = secrets.rotate(
        secrets.secrets_path(environment), settings.load_for_hosts(environment), name
    )
    for item in made:
        out.print(f"made {item}")
    out.print(f"Bring it to the hosts: make deploy ENV={environment}")


@app.command("show-ca")
def show_ca(environment: Environment) -> None:
    """Print the authority's certificate, which is no secret: for those who read.

    Example: logstack secrets show-ca staging > ca.pem
    """
    values = settings.load_for_hosts(environment)
    known = secrets.read(secrets.secrets_path(environment), values)
    out.print(secrets.secret(known, secrets.CA_CERTIFICATE).rstrip())


@app.command()
def names(environment: Environment) -> None:
    """List the secrets that the hosts need, whether they are there, and their variables.

    Example: logstack secrets names staging
    """
    values = settings.load_for_hosts(environment)
    path = secrets.secrets_path(environment)
    known = secrets.read(path, values)
    for name in (*secrets.wanted(values), *secrets.given(values)):
        variable = secrets.variable_of(name)
        state = "environment" if os.environ.get(variable) else "file"
        out.print(f"{name}  {state if known.get(name) else 'missing'}  {variable}")
