"""A file of a host, as data."""

from __future__ import annotations

from dataclasses import dataclass

PYTHON = "/usr/bin/python3"
UNITS = "/etc/systemd/system"
RENDERED = "# Rendered by Logstack: change its settings.\n"


@dataclass(frozen=True)
class HostFile:
    """A file on the host. `owner`: root or the component's user; `secret`: never shown."""

    path: str
    text: str
    mode: str
    owner: str
    secret: bool = False
