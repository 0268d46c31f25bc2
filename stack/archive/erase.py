"""Erases records from the archive, and leaves a signed tombstone in the chain.

Affected parts are rewritten without the records, a manifest seals that, then the old parts are
deleted, and orphaned parts with such records. A killed erase is finished by running it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta

from stack.archive import ArchiveError, orphans
from stack.archive.context import Archive, OnProgress, no_progress
from stack.archive.engines import reader_of
from stack.archive.failpoints import failpoint
from stack.archive.format import lines
from stack.archive.format.layout import hour_name, hour_of, rfc3339
from stack.archive.format.manifest import Erasure, Match, Part, subtract
from stack.archive.lifecycle import Expired, find_expired
from stack.archive.search import Matcher
from stack.archive.storage.documents import LISTED_ONLY
from stack.archive.storage.ledger import HourState, Ledger
from stack.archive.storage.parts import PartWriter, decompress, fetch, fetch_lines, send_part
from stack.archive.suppression import match_hmac
from stack.common.counted import counted
from stack.engines import Selection


@dataclass
class Erased:
    """What an erase did. `deleted` are the keys of deleted parts.

    `expired_hours` of the archive had been deleted before, after archive.days. `filters` of request
    and trace ids stay in manifests, which are never changed.
    """

    records: int = 0
    hours: int = 0
    expired_hours: int = 0
    filters: int = 0
    deleted: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Request:
    """Which records to erase, and why: those of which a field has its value in `matches`.

    The tombstone is that of the first. `future`: those that come later, too, are never archived.
    """

    matches: tuple[tuple[str, str], ...]
    reason: str
    future: bool = False


def run(archive: Archive, request: Request, *, on_progress: OnProgress = no_progress) -> Erased:
    """Erase every archived record that is asked for.

    Raises ArchiveError, before anything is changed, when a part is under a compliance lock or a
    legal hold; the text says until when. Raises it also after all else was erased, where the same
    erase has to run again later; the text says when and why.
    """
    result = Erased()
    with archive.exclusive_lock():
        ledger = archive.ledger()
        _delete_replaced(archive, ledger, result)  # of an erase that was killed
        hours = [hour for _, hour in sorted(ledger.hours.items())]
        expired = find_expired(archive, hours)
        result.expired_hours = expired.hours
        found = [
            (hour, parts)
            for hour in hours
            if (parts := _affected(archive, hour, expired, request, on_progress))
        ]
        orphaned = orphans.find_orphans(archive, ledger, request.matches, on_progress=on_progress)
        sealed = [part.key for _, parts in found for part in parts]
        check_locks(archive, [*sealed, *orphaned.old])
        for hour, parts in found:
            on_progress(hour_name(hour.start), "erasing")
            _erase_hour(archive, ledger, hour, parts, request, result)
        _delete_replaced(archive, ledger, result)
        digest = match_hmac(archive.key, *request.matches[0])
        again = _delete_orphans(archive, ledger, orphaned, digest, result)
        archive.save_state(length=ledger.length, head=ledger.head)
        archive.part_cache.tidy(ledger.part_keys, hour_of(archive.now() - archive.lateness))
    if again:
        raise ArchiveError(
            f"cannot erase every record: {counted(result.records, 'record')} of "
            f"{counted(result.hours, 'hour')} {'was' if result.records == 1 else 'were'} erased, "
            f"{counted(len(result.deleted), 'object')} deleted.\n" + "\n".join(again)
        )
    return result


def erasures(archive: Archive) -> list[dict[str, str | int | None]]:
    """The tombstones, oldest first. `excludes_until` is None where all such records are excluded.

    Raises ArchiveError.
    """
    return [
        {
            "created": rfc3339(item.created),
            "field": ", ".join(sorted({match.field for match in item.erasure.matches})),
            "reason": item.erasure.reason,
            "records": sum(item.erasure.streams.values()),
            "excludes_until": rfc3339(item.until) if item.until else None,
        }
        for item in archive.ledger().erasures
    ]


def check_locks(archive: Archive, keys: Iterable[str]) -> None:
    """Raises ArchiveError, which names each part that the object store will not delete."""
    reasons = []
    for key in keys:
        for number in archive.store.versions_of(key):
            lock = archive.store.lock(key, number)
            if lock.legal_hold:
                reasons.append(f"{key}: under a legal hold, which has no end")
            elif lock.mode == "compliance" and lock.until and lock.until > archive.now():
                reasons.append(f"{key}: locked in compliance mode until {rfc3339(lock.until)}")
    if reasons:
        raise ArchiveError("cannot erase records, nothing was erased:\n" + "\n".join(reasons))


def _affected(
    archive: Archive,
    hour: HourState,
    expired: Expired,
    request: Request,
    on_progress: OnProgress,
) -> tuple[Part, ...]:
    """The parts of an hour that hold records to erase."""
    on_progress(hour_name(hour.start), "searching")
    matcher = _matcher(hour, request)
    record_of = reader_of(hour.engine)

    def holds(part: Part) -> bool:
        blocks = decompress(fetch(archive.store, part, archive.work))
        return any(matcher.matches(line, record_of) for line in matcher.candidates(blocks))

    return tuple(part for part in expired.remaining(hour) if holds(part))


def _matcher(hour: HourState, request: Request) -> Matcher:
    return Matcher(Selection(since=hour.start, until=hour.until), request.matches)


def _digests(archive: Archive, request: Request, result: Erased) -> list[Match]:
    """The matches of an hour's tombstone: all in the first one, as it counts for every hour."""
    matches = request.matches if not result.hours else request.matches[:1]
    return [
        Match(field=name, match_hmac=match_hmac(archive.key, name, value))
        for name, value in matches
    ]


def _erase_hour(
    archive: Archive,
    ledger: Ledger,
    hour: HourState,
    parts: tuple[Part, ...],
    request: Request,
    result: Erased,
) -> None:
    matcher = _matcher(hour, request)
    record_of = reader_of(hour.engine)
    taken: dict[str, int] = {}

    def kept(part: Part) -> Iterator[bytes]:
        for line in fetch_lines(archive.store, part, archive.work):
            if matcher.matches(line, record_of):
                lines.count(line, taken)
            else:
                yield line

    written: list[Part] = []
    first, *others = _digests(archive, request, result)
    for part in parts:
        written += _rewrite(archive, hour, hour.numbers + len(written), kept(part))
    manifest = ledger.draft(
        kind="erasure",
        start=hour.start,
        until=hour.until,
        complete=hour.complete,
        engine=hour.engine,
        engine_version="",
        query="",
        created=archive.now(),
        engine_streams={},
        archived_streams=subtract(hour.streams, taken),
        parts=tuple(written),
        erasure=Erasure(
            field=first.field,
            match_hmac=first.match_hmac,
            also=tuple(others),
            reason=request.reason,
            streams=taken,
            replaced=tuple(part.model_copy(update={"ids": ""}) for part in parts),
            future=request.future,
        ),
    )
    if not ledger.write(manifest):
        raise ArchiveError(
            "cannot seal the erasure: another process wrote to the archive. Run the erase again"
        )
    failpoint("erase-manifest-uploaded")
    result.hours += 1
    result.filters += sum(bool(part.ids) for part in parts)
    result.records += sum(taken.values())


def _rewrite(archive: Archive, hour: HourState, number: int, kept: Iterator[bytes]) -> list[Part]:
    """Store the remaining lines as a new part; none where no line remains."""
    with closing(PartWriter(archive.work, archive.settings.archive.level)) as writer:
        for line in kept:
            writer.write(line, lines.stream(line))
        if not writer.streams:
            return []
        part = writer.finish(archive.tenant, hour.start, number)
        part = send_part(archive.store, part, writer.file, archive.copies_of_new_parts())
    failpoint("erase-part-uploaded")
    return [part]


def _delete_replaced(archive: Archive, ledger: Ledger, result: Erased) -> None:
    """Delete the parts that manifests have replaced and that are still stored."""
    for hour in ledger.hours.values():
        for key in hour.replaced:
            for number in archive.store.versions_of(key):
                archive.store.delete(key, number)
                failpoint("erase-part-deleted")
                result.deleted.append(key)


def _delete_orphans(
    archive: Archive, ledger: Ledger, orphaned: orphans.Orphans, digest: str, result: Erased
) -> list[str]:
    """Delete the old orphaned parts; why the erase has to run again.

    Those that a manifest names by now are for the next erase.
    """
    reasons: list[str] = []
    deleted_before = len(result.deleted)
    if orphaned.old:
        ledger.refresh()
    named = ledger.named_keys
    for key in orphaned.old:
        if key in named:
            reasons.append(f"{key}: a manifest names it now. Run the same erase again")
            continue
        for number in archive.store.versions_of(key):
            archive.store.delete(key, number)
            result.deleted.append(key)
    for key in orphaned.unread:
        reasons.append(f"{key}: {LISTED_ONLY}. Delete it, or run the same erase again")
    for key in orphaned.young:
        reasons.append(f"{key}: no manifest names it, and an exporter may be writing it")
    if orphaned.young:
        moment = orphaned.old_from.replace(microsecond=0) + timedelta(seconds=1)
        reasons.append(f"Run the same erase again at {rfc3339(moment)} or later")
    elif len(result.deleted) > deleted_before and not any(
        item.erasure.match_hmac == digest for item in ledger.erasures
    ):
        reasons.append(
            "No archived hour held such records, so there is no tombstone: the next `./logstack "
            "archive run` may archive them from the engine. Run the same erase again after it"
        )
    return reasons
