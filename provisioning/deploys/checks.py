"""Verify, diagnose, unlock, make secrets: nothing of a plan is changed."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api.deploy import deploy

from provisioning.checks.verify import CHECKS
from provisioning.fleet import settings_of
from provisioning.operations import check
from provisioning.run import current_run
from stack.hosts.roles import roles_of


def verify() -> None:
    """Records of every application host arrive; retention, certificates and rules are in force."""
    if current_run().open(host.name):
        _verify()


@deploy("Verify")
def _verify() -> None:
    roles = roles_of(current_run().deployment.settings, host.name)
    for role, function in host.loop(CHECKS):
        if role in roles:
            check.check(function=function, name=function.__name__.replace("_", " ").capitalize())
    check.conclude(name="Result")


def diagnose() -> None:
    """Every check of a host; records are checked last, and only if all else passed."""
    if current_run().open(host.name):
        _diagnose()


@deploy("Diagnose")
def _diagnose() -> None:
    check.examine(name="Examine")
    check.records(name="Records")
    check.conclude(name="Result")


def unlock() -> None:
    """Release the locks of a run that was killed."""
    if current_run().open(host.name):
        check.unlock(name="Unlock")


def make_secrets() -> None:
    """Generate the secrets of this inventory that are missing, on the control machine."""
    values = settings_of(current_run().state.inventory)  # also where pyinfra only prepares
    check.make_secrets(settings=values, name="Secrets", _run_once=True)
