"""Bring every host to its plan: `pyinfra INVENTORY provisioning/deploy.py`.

A second run changes nothing. `--dry` shows what a run would change, `--diff` the differing lines.
"""

from provisioning import deploys

deploys.start()  # preflight on every host, then every host's lock
deploys.log_servers()  # one at a time
deploys.app_hosts()  # all at once
