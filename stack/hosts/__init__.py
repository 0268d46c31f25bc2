"""The same stack on hosts: what each host gets, as data. Pure; provisioning/ executes it.

settings.py     the fleet, the gateway and the application hosts, in the settings
fleet.py        who is a log server, who alerts, where they reach each other
secrets.py      what `logstack secrets` makes and keeps; certificates.py
gateway.py      who may do what; cluster.py  firewall.py  units.py  app_logging.py
plan.py         plan_for(settings, secrets, host): every file, unit and check of one host
"""

from __future__ import annotations


class HostsError(Exception):
    """A host cannot be described; the text says which, what was wanted and what to type."""
