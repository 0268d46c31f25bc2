"""The same stack on hosts, as a pyinfra project: `pyinfra INVENTORY provisioning/deploy.py`.

deploy.py, rollback.py, verify.py, doctor.py, unlock.py, make_secrets.py    deploy files
inventories/    the hosts of the settings as pyinfra's groups, and their group_data/
deploys/        the steps of a deploy file, in order
operations/     one step on one host: what it compares and what it changes
facts/          what is read from a host
agent/          runs on a host; uploaded once per run
fleet.py        an inventory's settings, and each host's plan
changes.py      the differences between a host and its plan (pure)
preflight.py    whether a host can take its plan (pure)
checks/         verify, doctor
run.py          one run: its sessions and locks; report.py prints its end
"""

from __future__ import annotations

from pyinfra.api.exceptions import PyinfraError


class DeployError(PyinfraError):
    """A run failed. The text says on which host, why, and what is unchanged."""
