"""Heads of the chain of manifests that are known outside of the store.

A store that was set back as a whole is consistent in itself. Its chain is shorter than, or another
one than, what a run logged (`chain_head` of `archive_run_finished`), what this machine saved, or
what somebody wrote down of a `verify`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stack.archive import ArchiveError
from stack.archive.context import Archive
from stack.archive.storage.ledger import Ledger
from stack.common.counted import counted


@dataclass(frozen=True)
class Anchor:
    """The number of manifests up to a head, its SHA-256, and where that is known from."""

    length: int
    sha256: str
    source: str

    def problem(self, ledger: Ledger) -> str:
        """Why the chain is not the one of this head; empty where it is."""
        if self.length > ledger.length:
            return (
                f"{self.source}: the chain had {counted(self.length, 'manifest')}, and the store "
                f"has {ledger.length}: it was set back. Run: ./logstack archive repair"
            )
        if ledger.heads.get(self.length - 1) != self.sha256:
            return (
                f"{self.source}: manifest {self.length - 1} had the SHA-256 {self.sha256}, and has "
                f"{ledger.heads.get(self.length - 1, 'none')}: the chain is another one"
            )
        return ""


def head_of(ledger: Ledger) -> str:
    """The head as it is printed and logged: `<manifests>:<SHA-256>`, empty for an empty chain."""
    return f"{ledger.length}:{ledger.head}" if ledger.length else ""


def known(archive: Archive, given: str) -> Iterator[Anchor]:
    """The anchors of this machine, and one that was given. Raises ArchiveError for its form."""
    state = archive.state()
    if state.get("length") and state.get("head"):
        yield Anchor(state["length"], state["head"], "this machine")
    if given:
        found = re.fullmatch(r"(\d+):([0-9a-f]{64})", given)
        if found is None:
            raise ArchiveError(
                f"--head: expected <number>:<SHA-256> as verify prints it, got {given!r}"
            )
        yield Anchor(int(found[1]), found[2], "--head")
