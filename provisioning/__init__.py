"""The same stack on hosts, over SSH with pyinfra. `logstack hosts` and `make deploy` start it.

deploy.py       what a run does, step by step: plan, deploy, rollback, verify
fleet.py        the hosts as pyinfra sees them: connections, one at a time or side by side
changes.py      what differs between a host and its plan (pure)
remote.py       what runs on a host, with nothing but its Python
deploys/        one module per step on one host
inventories/    the hosts as groups, for pyinfra's own command
"""

from __future__ import annotations


class DeployError(Exception):
    """A run ended early; the text says on which host, why, and what was left as it was."""


def refuse_as_deploy(name: str) -> None:
    """Raise PyinfraError where pyinfra's own command runs one of these files as a deploy.

    `name` is the file's `__name__`, which is that of no module then. None of the files has an
    operation at its top level: pyinfra would change nothing and report success.
    """
    if name != "builtins":
        return
    from pyinfra.api.exceptions import PyinfraError

    raise PyinfraError(
        "cannot deploy with pyinfra's own command: the files of provisioning/ have no operations "
        "that it could run. Run: make plan ENV=staging, then make deploy ENV=staging"
    )


refuse_as_deploy(__name__)
