"""Before any change: preflight on every host, and every host's lock."""

from __future__ import annotations

import time

from pyinfra import host
from pyinfra.api.operation import operation

from provisioning.checks import preflight as checks
from provisioning.facts.host import HostFacts
from provisioning.operations.commands import Commands, Fail
from provisioning.run import current_run


@operation()
def preflight() -> Commands:
    """Whether this host can take its plan."""
    run = current_run()
    facts = run.sessions[host.name].fact(HostFacts)
    failed = checks.failed_checks(facts, run.plan(host), run.deployment.settings, time.time())
    if failed:
        run.report.failed_checks[host.name] = failed
        # Also without a change: the exit status of `--dry` says that this host is not ready.
        run.state.failed_hosts.add(run.state.inventory.get_host(host.name))
        if run.state.is_executing:
            yield Fail()


@operation()
def lock() -> Commands:
    """Lock this host for this run; a lock is no change of the host."""
    run = current_run()
    run.proceed()
    if not run.state.is_executing:
        return
    if holder := run.holder(host):
        yield Fail(
            f"cannot deploy: the lock is held by {holder}. Nothing was changed. Wait for that "
            f"run. If it was killed, run: ./logstack hosts unlock {run.environment}"
        )
    run.proceed()


@operation()
def proceed() -> Commands:
    """Stop the run where a host has failed; changes nothing."""
    current_run().proceed()
    yield from ()
