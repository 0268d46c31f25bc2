"""A deploy and a rollback: log servers one at a time, then all other hosts at once."""

from __future__ import annotations

from collections.abc import Callable

from pyinfra import host
from pyinfra.api.deploy import deploy

from provisioning.operations import begin, components, host_files
from provisioning.operations import roll_back as undo
from provisioning.run import current_run


def start() -> None:
    """Start a session; check whether every host can take its plan; lock all of them."""
    run = current_run()
    run.report.counts, run.report.untouched = True, "Nothing was changed"
    if run.open(host.name):
        _start()


@deploy("Start")
def _start() -> None:
    begin.preflight(name="Preflight checks")
    begin.lock(name="Lock")


@deploy("Log servers")
def log_servers() -> None:
    """One after the other; a failure ends the run."""
    _one_at_a_time(_host)


@deploy("Other hosts")
def app_hosts() -> None:
    """All at once."""
    _others(_host)


def roll_back() -> None:
    """Undo the changes of the last run, in a deploy's order."""
    run = current_run()
    run.report.nothing = "Nothing to roll back: no deploy has changed these hosts."
    run.report.untouched = "Nothing was rolled back"
    if run.open(host.name):
        _roll_back()


@deploy("Roll back")
def _roll_back() -> None:
    begin.lock(name="Lock")
    _one_at_a_time(lambda: undo.roll_back(name="Roll back"))
    _others(lambda: undo.roll_back(name="Roll back"))


def _host() -> None:
    """Every step of one host."""
    components.install(name="Programs, and checks of configurations")
    components.remove_others(name="Services that are in no plan")
    host_files.host_files(name="Files of the host")
    for component in host.loop(current_run().plan(host).components):
        components.component(service=component.name, name=component.name)
    components.prune(name="Old versions")


def _one_at_a_time(steps: Callable[[], object]) -> None:
    """The log servers' steps, each server's after those of the one before.

    Every host has the step between them, which orders the others: pyinfra runs an operation when
    all that come before it on any host have ended.
    """
    run = current_run()
    for name in host.loop(run.deployment.serial):
        if host.name == name and name in run.sessions:
            steps()
        if host.name in run.sessions:
            begin.follow(other=name, name=f"After {name}")


def _others(steps: Callable[[], object]) -> None:
    run = current_run()
    if host.name in run.sessions and host.name not in run.deployment.serial:
        steps()
