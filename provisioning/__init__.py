"""The same stack on hosts, over SSH with pyinfra. `logstack hosts` and `make deploy` start it.

deploy.py       what a run does, step by step: plan, deploy, rollback, verify
fleet.py        the hosts as pyinfra sees them: connections, one at a time or side by side
changes.py      the differences between a host and its plan (pure)
remote.py       the code that runs on a host, with only its Python
deploys/        one module per step on one host
inventories/    the hosts as groups, for pyinfra's own command
"""

from __future__ import annotations


class DeployError(Exception):
    """A run failed. The text says on which host, why, and what is unchanged."""


def refuse_as_deploy(name: str) -> None:
    """Raise PyinfraError where pyinfra's own command runs one of these files as a deploy.

    `name` is the file's `__name__`, which is not a module's name then. None of the files has an
    operation at top level: pyinfra would change nothing and report success.
    """
    if name != "builtins":
        return
    from pyinfra.api.exceptions import PyinfraError

    raise PyinfraError(
        "cannot deploy with pyinfra's own command: the files in provisioning/ contain no "
        "operations for it. Run: make plan ENV=staging, then make deploy ENV=staging"
    )


refuse_as_deploy(__name__)
