"""Before any change: preflight on every host, and every host's lock."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api.operation import operation

from provisioning.operations.commands import Commands, Fail, step
from provisioning.run import Run, current_run


@operation()
def preflight() -> Commands:
    """Whether this host can take its plan."""
    run = current_run()
    run.report.notes[host.name] = run.plan(host).notes
    if run.preflight(host.name):
        run.fail(host.name)
        if run.state.is_executing:
            yield Fail()


@step
def lock(run: Run) -> Commands:
    """Lock this host for this run; a lock is no change of the host."""
    if run.state.is_executing and (text := run.lock(host.name)):
        yield Fail(text)


@step
def follow(run: Run, other: str) -> Commands:
    """Stop the run where the steps of another host have failed; changes nothing."""
    if run.state.is_executing:
        if host.name == other:
            run.finished.add(other)
        run.wait_for(other)
    yield from ()
