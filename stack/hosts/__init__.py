"""The same stack on hosts: what each host gets, as data. Pure; provisioning/ executes it.

roles.py        which hosts are log servers, and the addresses at which they reach each other
secrets.py      what `logstack secrets` makes and keeps; certificates.py
gateway.py      which users may send which requests; reading.py reads through it from here
cluster.py  firewall.py  systemd.py  log_files.py  agent_view.py   further files of a host
plan.py         plan_for(settings, secrets, host): every file, unit and check of one host
"""

from __future__ import annotations


class HostsError(Exception):
    """A plan cannot be made; the text says which value is wrong and what to run."""
