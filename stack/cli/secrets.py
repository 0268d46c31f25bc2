"""`logstack secrets`: generates, lists and rotates an environment's secrets; prints no values."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from stack import settings
from stack.cli.console import out, shorten_path
from stack.hosts import secrets

app = typer.Typer(
    help="Generate and rotate the secrets of hosts. Values are never printed.", no_args_is_help=True
)


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="secrets")


Environment = Annotated[str, typer.Argument(help="The environment: staging, prod, …")]


@app.command()
def init(environment: Environment) -> None:
    """Generate missing or expired secrets: passwords, the CA, certificates.

    A second run changes nothing.

    Example: logstack secrets init staging
    """
    values = settings.load_for_hosts(environment)
    path = secrets.secrets_path(environment)
    made = secrets.init(path, values)
    for name in made:
        out.print(f"generated {name}")
    where = shorten_path(str(path))
    unchanged = len(secrets.generated_names(values)) - len(made)
    out.print(f"{len(made)} generated, {unchanged} unchanged, in {where}")


@app.command()
def rotate(
    environment: Environment,
    name: Annotated[str, typer.Argument(help="The secret, as `secrets names` lists it.")],
) -> None:
    """Replace one secret. The next deploy installs it on the hosts.

    Example: logstack secrets rotate staging writer_app-1
    """
    made = secrets.rotate(
        secrets.secrets_path(environment), settings.load_for_hosts(environment), name
    )
    for item in made:
        out.print(f"generated {item}")
    out.print(f"Install it on the hosts: make deploy ENV={environment}")


@app.command("show-ca")
def show_ca(environment: Environment) -> None:
    """Print the CA certificate (public), for clients that query the gateway.

    Example: logstack secrets show-ca staging > ca.pem
    """
    values = settings.load_for_hosts(environment)
    known = secrets.read(secrets.secrets_path(environment), values)
    out.print(secrets.secret(known, secrets.CA_CERTIFICATE).rstrip())


@app.command()
def names(environment: Environment) -> None:
    """List the secrets that the hosts need: name, where it comes from, environment variable.

    Example: logstack secrets names staging
    """
    values = settings.load_for_hosts(environment)
    path = secrets.secrets_path(environment)
    known = secrets.read(path, values)
    for name in (*secrets.generated_names(values), *secrets.external_names(values)):
        variable = secrets.variable_of(name)
        state = "environment" if os.environ.get(variable) else "file"
        out.print(f"{name}  {state if known.get(name) else 'missing'}  {variable}")
