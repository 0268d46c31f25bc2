"""Writes a part that the store lost or damaged again, from what the engine still has of it.

Equal lines make equal bytes, so that what is stored is what the manifest states, or nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import ExitStack, closing

from stack.archive import ArchiveError
from stack.archive.context import Archive
from stack.archive.format import lines
from stack.archive.format.layout import day_of
from stack.archive.format.manifest import Part
from stack.archive.format.ordering import difference, in_order
from stack.archive.lifecycle import may_have_expired
from stack.archive.storage.ledger import HourState, Ledger
from stack.archive.storage.parts import PartWriter, fetch_lines, sealed_version
from stack.archive.suppression import Suppression
from stack.archive.verify import check_part

OTHER_BYTES = "what the engine has of it makes another part than its manifest states"


def damaged_parts(archive: Archive, ledger: Ledger) -> Iterator[tuple[HourState, Part]]:
    """The parts of days in the engine that are in no version as sealed; reads all of them."""
    days = set(archive.engine.days())
    for start, hour in sorted(ledger.hours.items()):
        in_engine = hour.engine == archive.engine.name and day_of(start) in days
        if not in_engine or may_have_expired(archive, hour):
            continue
        for part in hour.parts.values():
            if check_part(archive, part) and not _is_sealed(archive, part):
                yield hour, part


def store_again(archive: Archive, ledger: Ledger, hour: HourState, part: Part) -> str:
    """Store a part from the engine in place of what is there; why that is not possible, or nothing.

    Raises ArchiveError and EngineError.
    """
    with ExitStack() as stack:
        # One or the other was used, by the number of services with own parts.
        writers = [
            stack.enter_context(
                closing(PartWriter(archive.work, archive.settings.archive.level, threaded=threaded))
            )
            for threaded in (False, True)
        ]
        for line in _lines_of(archive, ledger, hour, part):
            for writer in writers:
                writer.write(line, lines.stream(line))
        for writer in writers if writers[0].streams else ():
            made = writer.finish(archive.tenant, hour.start, 0)
            if made.compressed_sha256 == part.compressed_sha256:
                for version in archive.store.versions_of(part.key):
                    archive.store.delete(part.key, version)
                archive.store.put(part.key, writer.file, part.compressed_sha256)
                return ""
    return OTHER_BYTES


def _lines_of(archive: Archive, ledger: Ledger, hour: HourState, part: Part) -> Iterator[bytes]:
    """What the engine has of a part's streams and time, less what other parts of the hour have."""
    first, last = int(part.first_ns), int(part.last_ns)

    def belongs(line: bytes) -> bool:
        stream = lines.stream(line).decode("utf-8", "replace")
        return first <= lines.timestamp(line) <= last and stream in part.streams

    exported = in_order(archive.engine.export(hour.start, hour.until), archive.work)
    suppression = Suppression(archive.key, archive.engine.name, ledger.erasures)
    others = [
        item
        for item in hour.parts.values()
        if item.key != part.key and item.overlaps(first, last + 1)
    ]
    archived = heapq.merge(*(fetch_lines(archive.store, item, archive.work) for item in others))
    return difference(suppression.filter(filter(belongs, exported)), archived)


def _is_sealed(archive: Archive, part: Part) -> bool:
    try:
        return bool(sealed_version(archive.store, part))
    except ArchiveError:  # a version that cannot be read
        return False
