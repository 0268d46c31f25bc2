"""Heads of the chain of manifests that are known outside of the store.

A store that was set back as a whole is consistent in itself. Its chain is shorter than, or another
one than, what a run logged (`chain_head` of `archive_run_finished`), what this machine saved, or
what somebody wrote down of a `verify`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from stack.archive import ArchiveError
from stack.archive.context import Archive
from stack.archive.storage.ledger import Ledger
from stack.common.counted import counted
from stack.engines import EngineError, Selection
from stack.records.contract import ARCHIVER_SERVICE

HEAD = re.compile(r"(\d+):([0-9a-f]{64})")
FINISHED = "archive_run_finished"


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


def known(archive: Archive, given: str = "") -> Iterator[Anchor]:
    """The anchors of this machine and of the engine, and one that was given.

    Raises ArchiveError for its form.
    """
    state = archive.state()
    if state.get("length") and state.get("head"):
        yield Anchor(state["length"], state["head"], "this machine")
    if logged := HEAD.fullmatch(_logged_head(archive)):
        yield Anchor(int(logged[1]), logged[2], f"a record in {archive.engine.name}")
    if given:
        found = HEAD.fullmatch(given)
        if found is None:
            raise ArchiveError(
                f"--head: expected <number>:<SHA-256> as verify prints it, got {given!r}"
            )
        yield Anchor(int(found[1]), found[2], "--head")


def check(archive: Archive, ledger: Ledger) -> None:
    """Raises ArchiveError where the chain is not the one of a head that is known."""
    for anchor in known(archive):
        if problem := anchor.problem(ledger):
            raise ArchiveError(f"rolled-back: {problem}")


def place_of(archive: Archive) -> str:
    """The bucket and tenant of a chain, which a head is logged with."""
    access = archive.store.access
    return f"{archive.settings.archive.endpoint}/{access.bucket}/{archive.tenant}"


def _logged_head(archive: Archive) -> str:
    """The head that the newest run logged, as far as the engine has it; or nothing."""
    now = archive.now()
    days = archive.settings.retention.engine_days(archived=True)
    selection = Selection(
        since=now - timedelta(days=days),
        until=now + timedelta(hours=1),
        matches={
            "service_name": ARCHIVER_SERVICE,
            "event_type": FINISHED,
            "chain_place": place_of(archive),
        },
    )
    try:
        records = list(archive.queries.records(selection, limit=1))
    except EngineError:  # whoever needs the engine reports it
        return ""
    return str(records[-1].get("chain_head", "")) if records else ""
