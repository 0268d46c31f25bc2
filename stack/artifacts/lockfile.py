"""Packages as requirements.lock pins them, for images and for hosts."""

from __future__ import annotations

import re
from collections.abc import Collection

from stack.settings import ROOT


def locked_packages(names: Collection[str]) -> list[str]:
    """The entries of packages in requirements.lock, with hashes, in the file's order."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.findall(r"(?m)^[a-z0-9._-]+==[^\n]*\n(?:[ \t]+[^\n]*\n)*", lock)
    return [entry for entry in entries if entry.partition("==")[0] in names]
