"""Takes records out of the archive for good, and leaves a signed tombstone in the chain.

Affected parts are written anew without the records, a manifest says so, then the old parts are
deleted, and parts that no manifest names. An erase that was killed is finished by running it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import version

from stack.archive import ArchiveError
from stack.archive import orphans as unsealed
from stack.archive.context import Archive, OnProgress, no_progress
from stack.archive.engines import reader_of
from stack.archive.failpoints import failpoint
from stack.archive.format import lines
from stack.archive.format.layout import hour_of, rfc3339
from stack.archive.format.manifest import Erasure, Manifest, Part, add
from stack.archive.lifecycle import Expired, find_expired
from stack.archive.search import Matcher
from stack.archive.storage.ledger import LISTED_ONLY, HourState, Ledger
from stack.archive.storage.parts import PartWriter, decompress, fetch, fetch_lines, send_part
from stack.archive.suppression import match_hmac
from stack.engines import Selection


@dataclass
class Erased:
    """What an erase did. `deleted` are the keys of the parts that are gone.

    `expired_hours` had left the archive before, since archive.days were over.
    """

    records: int = 0
    hours: int = 0
    expired_hours: int = 0
    deleted: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Affected:
    """An hour and those of its parts that hold records to erase."""

    hour: HourState
    parts: tuple[Part, ...]


def run(
    archive: Archive,
    name: str,
    value: str,
    reason: str,
    *,
    on_progress: OnProgress = no_progress,
) -> Erased:
    """Erase every archived record whose field `name` is `value`.

    Raises ArchiveError, before anything is changed, when a part is locked by compliance mode or
    held for legal reasons; the text says until when. Raises it also after all that can be done now,
    where the same erase has to be run again later; the text says when and why.
    """
    result = Erased()
    with archive.alone():
        ledger = archive.ledger()
        _delete_replaced(archive, ledger, result)  # of an erase that was killed
        hours = [hour for _, hour in sorted(ledger.hours.items())]
        expired = find_expired(archive, hours)
        result.expired_hours = expired.hours
        found = [
            affected
            for hour in hours
            if (affected := _affected(archive, hour, expired, (name, value), on_progress)).parts
        ]
        beside = unsealed.holding(archive, ledger, name, value, on_progress=on_progress)
        sealed = [part.key for affected in found for part in affected.parts]
        check_locks(archive, [*sealed, *beside.old])
        for affected in found:
            on_progress(f"{affected.hour.start:%Y-%m-%d %H}:00", "erasing")
            _erase_hour(archive, ledger, affected, (name, value, reason), result)
        _delete_replaced(archive, ledger, result)
        again = _delete_unsealed(archive, ledger, beside, match_hmac(archive.key, name, value))
        result.deleted += again.deleted
        archive.remember(length=ledger.length, head=ledger.head)
        archive.copies.tidy(ledger.part_keys, hour_of(archive.now() - archive.lateness))
    if again.reasons:
        raise ArchiveError(
            f"Erased {result.records} records of {result.hours} hours; {len(result.deleted)} "
            "objects were deleted. That is not all:\n" + "\n".join(again.reasons)
        )
    return result


def check_locks(archive: Archive, keys: Iterable[str]) -> None:
    """Whether the object store will let the parts go. Raises ArchiveError, which names each."""
    reasons = []
    for key in keys:
        for number in archive.store.versions(key).get(key, []):
            lock = archive.store.lock(key, number)
            if lock.legal_hold:
                reasons.append(f"{key}: a legal hold is on it, without an end")
            elif lock.mode == "compliance" and lock.until and lock.until > archive.now():
                reasons.append(f"{key}: locked in compliance mode until {rfc3339(lock.until)}")
    if reasons:
        raise ArchiveError("Nothing was erased:\n" + "\n".join(reasons))


def _affected(
    archive: Archive,
    hour: HourState,
    expired: Expired,
    match: tuple[str, str],
    on_progress: OnProgress,
) -> Affected:
    """Look through an hour's parts for the records."""
    on_progress(f"{hour.start:%Y-%m-%d %H}:00", "searching")
    matcher = _matcher(hour, *match)
    record_of = reader_of(hour.engine)

    def holds(part: Part) -> bool:
        blocks = decompress(fetch(archive.store, part, archive.work))
        return any(matcher.takes(line, record_of) for line in matcher.candidates(blocks))

    there = [part for key, part in hour.parts.items() if key not in expired.parts]
    return Affected(hour, tuple(part for part in there if holds(part)))


def _matcher(hour: HourState, name: str, value: str) -> Matcher:
    return Matcher(Selection(since=hour.start, until=hour.until, matches={name: value}))


def _erase_hour(
    archive: Archive,
    ledger: Ledger,
    affected: Affected,
    request: tuple[str, str, str],
    result: Erased,
) -> None:
    name, value, reason = request
    hour = affected.hour
    matcher = _matcher(hour, name, value)
    record_of = reader_of(hour.engine)
    taken: dict[str, int] = {}

    def kept(part: Part) -> Iterator[bytes]:
        for line in fetch_lines(archive.store, part, archive.work):
            if matcher.takes(line, record_of):
                stream = lines.stream(line).decode("utf-8", "replace")
                taken[stream] = taken.get(stream, 0) + 1
            else:
                yield line

    written: list[Part] = []
    for part in affected.parts:
        written += _rewrite(archive, hour, hour.numbers + len(written), kept(part))
    had = hour.streams
    manifest = Manifest(
        tenant=archive.tenant,
        sequence=ledger.length,
        previous_sha256=ledger.head,
        kind="erasure",
        start=hour.start,
        until=hour.until,
        complete=hour.complete,
        engine=hour.engine,
        engine_version="",
        exporter_version=version("logstack"),
        query="",
        created=archive.now(),
        engine_records=0,
        archived_records=hour.records - sum(taken.values()),
        engine_streams={},
        archived_streams=add(had, {stream: -count for stream, count in taken.items()}),
        parts=tuple(written),
        erasure=Erasure(
            field=name,
            match_hmac=match_hmac(archive.key, name, value),
            reason=reason,
            streams=taken,
            replaced=affected.parts,
        ),
    )
    if not ledger.write(manifest):
        raise ArchiveError("Another process wrote to the archive meanwhile. Run the erase again")
    failpoint("erase-manifest-uploaded")
    result.hours += 1
    result.records += sum(taken.values())


def _rewrite(archive: Archive, hour: HourState, number: int, kept: Iterator[bytes]) -> list[Part]:
    """Store the lines that stay as a part of their own; none when none stay."""
    writer = PartWriter(archive.work, archive.settings.archive.level)
    try:
        for line in kept:
            writer.write(line, lines.stream(line))
        if not writer.streams:
            return []
        part = writer.finish(archive.tenant, hour.start, number)
        part = send_part(archive.store, part, writer.file)
        if archive.keeps_copies():
            archive.copies.keep(part.key, writer.file)
    finally:
        writer.close()
    failpoint("erase-part-uploaded")
    return [part]


def _delete_replaced(archive: Archive, ledger: Ledger, result: Erased) -> None:
    """Delete the parts that manifests have replaced and that are still there."""
    for hour in ledger.hours.values():
        for key in hour.replaced:
            for number in archive.store.versions(key).get(key, []):
                archive.store.delete(key, number)
                failpoint("erase-part-deleted")
                result.deleted.append(key)


@dataclass
class _Again:
    """What was deleted of unsealed parts, and why the erase has to be run again."""

    deleted: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def _delete_unsealed(
    archive: Archive, ledger: Ledger, beside: unsealed.Unsealed, match: str
) -> _Again:
    """Delete the old parts that no manifest names; those named since are for the next erase."""
    again = _Again()
    if beside.old:
        ledger.refresh()
    named = ledger.named_keys
    for key in beside.old:
        if key in named:
            text = "a manifest has named it since. Run the same erase again"
            again.reasons.append(f"{key}: {text}")
            continue
        for number in archive.store.versions(key).get(key, []):
            archive.store.delete(key, number)
            again.deleted.append(key)
    for key in beside.unread:
        again.reasons.append(f"{key}: {LISTED_ONLY}. Delete it, or run the same erase again")
    for key in beside.young:
        text = "no manifest names it, and an exporter may be at work on it"
        again.reasons.append(f"{key}: {text}")
    if beside.young:
        moment = beside.old_from.replace(microsecond=0) + timedelta(seconds=1)
        again.reasons.append(f"Run the same erase again at {rfc3339(moment)} or later")
    elif again.deleted and not any(item.match_hmac == match for item in ledger.erasures):
        again.reasons.append(
            "No archived hour held such records yet: the next `./logstack archive run` may archive "
            "them from the engine. Run the same erase again after it"
        )
    return again
