"""A file of a host, as data."""

from __future__ import annotations

from dataclasses import dataclass

from stack.components.component import HOST_PYTHON

PYTHON = HOST_PYTHON
UNITS = "/etc/systemd/system"


@dataclass(frozen=True)
class HostFile:
    """A file on the host. `owner`: root or the component's user; `secret`: never shown."""

    path: str
    text: str
    mode: str
    owner: str
    secret: bool = False


def public_file(path: str, text: str) -> HostFile:
    """A file that belongs to root and that everybody may read."""
    return HostFile(path, text, "0644", "root")
