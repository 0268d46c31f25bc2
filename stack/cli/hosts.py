"""`logstack hosts`: plan, deploy, verify and roll back on the hosts of an environment."""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from stack.settings import ROOT, SettingsError

app = typer.Typer(
    help="Deploy to the hosts of staging and production over SSH.",
    no_args_is_help=True,
)


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="hosts")


Environment = Annotated[str, typer.Argument(help="The environment: staging, prod, …")]
# Everything else belongs to pyinfra's command: --limit, --diff, -v, --data.
PASSES_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command(context_settings=PASSES_ON)
def plan(context: typer.Context, environment: Environment) -> None:
    """Show what a deploy would change on each host, and failed preflight checks.

    Changes nothing. Other options are pyinfra's: --limit app-1, --diff, -v.

    Example: logstack hosts plan staging --diff
    """
    run_on_hosts("deploy.py", environment, "--yes", "--dry", *context.args)


@app.command(context_settings=PASSES_ON)
def deploy(context: typer.Context, environment: Environment) -> None:
    """Apply the plan to every host: log servers one at a time, then all others.

    A second run changes nothing. A component that does not become healthy is rolled back.

    Example: logstack hosts deploy staging
    """
    run_on_hosts("deploy.py", environment, "--yes", *context.args)


@app.command(context_settings=PASSES_ON)
def verify(context: typer.Context, environment: Environment) -> None:
    """Check that records of each app host arrive and that retention and rules are in effect.

    Example: logstack hosts verify staging
    """
    run_on_hosts("verify.py", environment, "--yes", *context.args)


@app.command(context_settings=PASSES_ON)
def doctor(context: typer.Context, environment: Environment) -> None:
    """Diagnose every host: preflight, services, differences from its plan, records.

    Example: logstack hosts doctor staging
    """
    run_on_hosts("doctor.py", environment, "--yes", *context.args)


@app.command(context_settings=PASSES_ON)
def rollback(context: typer.Context, environment: Environment) -> None:
    """Undo the last deploy. A second rollback restores it.

    Example: logstack hosts rollback staging
    """
    run_on_hosts("rollback.py", environment, "--yes", *context.args)


@app.command(context_settings=PASSES_ON)
def unlock(context: typer.Context, environment: Environment) -> None:
    """Remove the lock of a deploy that was killed, so that the next one can start.

    Example: logstack hosts unlock staging
    """
    run_on_hosts("unlock.py", environment, "--yes", *context.args)


def run_on_hosts(file: str, environment: str, *flags: str) -> NoReturn:
    """Run pyinfra's command with a deploy file of provisioning/.

    Replaces this process: pyinfra needs gevent's patches before anything else is imported.

    It is not a child process, so that signals reach the one that has to release the hosts' locks.
    """
    if not environment or environment.startswith("-"):
        raise SettingsError(
            "environment: expected a name such as staging, before any option of pyinfra, "
            f"got {environment!r}"
        )
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(  # noqa: S606 -- without a shell
        sys.executable,
        [sys.executable, "-P", "-m", "provisioning", file, *flags],
        {**os.environ, "LOGSTACK_ENV": environment, "PYTHONPATH": str(ROOT)},
    )
