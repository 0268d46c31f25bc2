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
run.py          one run: its locks and failures; report.py prints its end
session.py      the agent on one host
"""

from __future__ import annotations

import logging
import re

from pyinfra import logger
from pyinfra.api.exceptions import PyinfraError


class DeployError(PyinfraError):
    """A run failed. The text says on which host, why, and what is unchanged."""


_PASSWORD = re.compile(r"""('_(?:sudo|su|dzdo)_password': )('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")


def without_passwords(record: logging.LogRecord) -> bool:
    """Mask the passwords of sudo among the arguments that pyinfra's `--debug` prints."""
    text = record.getMessage()
    if _PASSWORD.search(text):
        record.msg, record.args = _PASSWORD.sub(r"\1'***'", text), ()
    return True


logger.addFilter(without_passwords)
# Its tracebacks would be printed; what pyinfra says of a host that does not answer is enough.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
