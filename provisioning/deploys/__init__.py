"""The steps of the deploy files, as pyinfra deploys.

A deploy file of another repository can call them, too: `start()`, then `log_servers()` and
`app_hosts()`.
"""

from provisioning.deploys.checks import diagnose, make_secrets, unlock, verify
from provisioning.deploys.stack import app_hosts, log_servers, roll_back, start

__all__ = [
    "app_hosts",
    "diagnose",
    "log_servers",
    "make_secrets",
    "roll_back",
    "start",
    "unlock",
    "verify",
]
