"""`logstack hosts`: plan, deploy, verify and roll back on the hosts of an environment."""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from stack.settings import ROOT

app = typer.Typer(
    help="Staging and production over SSH. Each command names its environment.",
    no_args_is_help=True,
)


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="hosts")


Environment = Annotated[str, typer.Argument(help="The environment: staging, prod, …")]


@app.command()
def plan(environment: Environment) -> None:
    """Show what a deploy would change on each host, and what is in its way. Changes nothing.

    Example: logstack hosts plan staging
    """
    run_on_hosts("plan", environment)


@app.command()
def deploy(environment: Environment) -> None:
    """Bring every host to its plan: log servers one at a time, then all others.

    A second run changes nothing. What does not become healthy is taken back.

    Example: logstack hosts deploy staging
    """
    run_on_hosts("deploy", environment)


@app.command()
def verify(environment: Environment) -> None:
    """Prove that records of each app host arrive, and that policies are in force.

    Example: logstack hosts verify staging
    """
    run_on_hosts("verify", environment)


@app.command()
def rollback(environment: Environment) -> None:
    """Put back what the last deploy changed. Once more returns to it.

    Example: logstack hosts rollback staging
    """
    run_on_hosts("rollback", environment)


@app.command()
def unlock(environment: Environment) -> None:
    """Take the lock of a deploy that was killed, so that the next one may begin.

    Example: logstack hosts unlock staging
    """
    run_on_hosts("unlock", environment)


def run_on_hosts(command: str, environment: str) -> NoReturn:
    """Go on as another program: pyinfra needs gevent's patches before anything else is imported.

    Not as a child of this one, so that signals reach who has to give the hosts' locks back.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(  # noqa: S606 -- no shell is wanted
        sys.executable,
        [sys.executable, "-P", "-m", "provisioning", command],
        {**os.environ, "LOGSTACK_ENV": environment, "PYTHONPATH": str(ROOT)},
    )
