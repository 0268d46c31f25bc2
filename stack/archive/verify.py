"""Checks the archive against itself and, while the records are still there, against the engine.

It finds missing manifests and hours, a rewritten manifest, missing, changed and overwritten parts,
and counts that differ. It goes on after a problem, so that all of them are named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

from stack.archive import ArchiveError
from stack.archive import early_expiry as shorter
from stack.archive.context import Archive, OnProgress, no_progress
from stack.archive.format import lines
from stack.archive.format.layout import (
    HOUR,
    hours,
    manifest_key,
    manifests_prefix,
    rfc3339,
    tenant_prefix,
)
from stack.archive.format.manifest import Part, add, parse, sha256, subtract
from stack.archive.lifecycle import may_have_expired
from stack.archive.storage.ledger import LISTED_ONLY, HourState, Ledger, read_documents
from stack.archive.storage.parts import decompress
from stack.archive.storage.store import MissingError, StoreError
from stack.engines import EngineError

NOT_THERE = "the store does not have it (404)"


@dataclass(frozen=True)
class Problem:
    """`kind` is a word for programs, `what` the object or hour, `text` a sentence for people."""

    kind: str
    what: str
    text: str


@dataclass
class Report:
    """What was looked at and what is wrong. `notes` are no faults, but worth knowing."""

    since: str = ""
    until: str = ""
    deep: bool = False
    manifests: int = 0
    hours: int = 0
    hours_expired: int = 0
    parts: int = 0
    records: int = 0
    raw_bytes: int = 0
    compressed_bytes: int = 0
    hours_compared_with_engine: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def add(self, kind: str, what: str, text: str) -> None:
        self.problems.append(Problem(kind, what, text))

    def as_dict(self) -> dict[str, object]:
        return {"ok": self.ok, **asdict(self)}


def run(
    archive: Archive,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    deep: bool = False,
    on_progress: OnProgress = no_progress,
) -> Report:
    """Check the hours that overlap [since, until), the whole chain in any case.

    `deep` reads every part back and counts its records; one that cannot be read is a problem in the
    report. Raises StoreError when the store gives neither list nor manifests.
    """
    report = Report(deep=deep)
    ledger = check_chain(archive, report)
    chosen = [
        hour
        for start, hour in sorted(ledger.hours.items())
        if (until is None or start < until) and (since is None or start + HOUR > since)
    ]
    if chosen:
        report.since = rfc3339(chosen[0].start)
        report.until = rfc3339(chosen[-1].start + HOUR)
        _check_hours_are_there(chosen, report)
        _check_objects(archive, ledger, chosen, report)
        _check_engine(archive, chosen, report)
    missing = {item.what for item in report.problems if item.kind == "part-missing"}
    for hour in chosen:
        report.hours += 1
        on_progress(f"{hour.start:%Y-%m-%d %H}:00", "checking")
        for part in hour.parts.values():
            report.parts += 1
            report.records += part.records
            report.raw_bytes += part.raw_bytes
            report.compressed_bytes += part.compressed_bytes
            if deep and part.key not in missing and not may_have_expired(archive, hour):
                report.problems += check_part(archive, part)
        on_progress(f"{hour.start:%Y-%m-%d %H}:00", "checked")
    return report


def check_chain(archive: Archive, report: Report) -> Ledger:
    """Read every manifest from the store; what is wrong with one is named and passed over."""
    ledger = Ledger(archive.store, archive.tenant, archive.key)
    expected = 0
    head: str | None = ""  # None: there is nothing to compare with
    for listed, document in read_documents(archive.store, archive.tenant):
        report.manifests += 1
        if document is None:
            report.add("manifest-missing", listed.key, f"{listed.key}: {LISTED_ONLY}")
            expected, head = expected + 1, None
            continue
        try:
            manifest = parse(document, archive.key.public_key())
        except ArchiveError as error:
            report.add("manifest-changed", listed.key, f"{listed.key}: {error}")
            expected, head = expected + 1, sha256(document)
            continue
        for number in range(expected, manifest.sequence):
            name = manifest_key(archive.tenant, number)
            report.add("manifest-missing", name, f"{name}: this manifest is missing")
            head = None
        if head is not None and manifest.previous_sha256 != head:
            text = f"{listed.key}: the manifest before it is not the one it was written after"
            report.add("chain-broken", listed.key, text)
        if listed.key != manifest_key(archive.tenant, manifest.sequence):
            text = f"{listed.key}: it holds the manifest number {manifest.sequence}"
            report.add("manifest-changed", listed.key, text)
        ledger.take(manifest)
        head, expected = sha256(document), manifest.sequence + 1
    state = archive.state()
    for number in range(expected, state.get("length", 0)):
        name = manifest_key(archive.tenant, number)
        report.add("manifest-missing", name, f"{name}: this machine wrote it, and it is missing")
    return ledger


def check_part(archive: Archive, part: Part) -> list[Problem]:
    """Read a part back: hashes, sizes, order, times and counts. All that is wrong with it.

    One that the store does not have is `part-missing`, whatever its listing says. What it does not
    give is `part-unreadable`, with what the store says: no proof of a change.
    """
    compressed, raw = hashlib.sha256(), hashlib.sha256()
    streams: dict[bytes, int] = {}
    size, previous, first, last = 0, b"", b"", b""

    def chunks() -> Iterator[bytes]:
        nonlocal size
        for chunk in archive.store.chunks(part.key):
            compressed.update(chunk)
            size += len(chunk)
            yield chunk

    in_order, rest = True, b""
    damage = ""
    reading = chunks()
    try:
        try:
            for block in decompress(reading):
                raw.update(block)
                *whole, rest = (rest + block).split(b"\n")
                for line in whole:
                    stream = lines.stream(line)
                    streams[stream] = streams.get(stream, 0) + 1
                    in_order = in_order and previous <= line
                    first, last, previous = first or line, line, line
        except StoreError:
            raise
        except (ArchiveError, ValueError) as error:
            damage = str(error)
        for _ in reading:  # the rest of a damaged part, for its hash
            pass
    except MissingError:
        return [Problem("part-missing", part.key, f"{part.key}: {NOT_THERE}")]
    except StoreError as error:  # says nothing of the part
        return [Problem("part-unreadable", part.key, f"{part.key}: {error}")]
    found = {stream.decode("utf-8", "replace"): n for stream, n in sorted(streams.items())}
    problems = []

    def wrong(kind: str, text: str) -> None:
        problems.append(Problem(kind, part.key, f"{part.key}: {text}"))

    if compressed.hexdigest() != part.compressed_sha256:
        wanted = f"wanted the SHA-256 {part.compressed_sha256} of {part.compressed_bytes} bytes"
        wrong("part-changed", f"{wanted}, found {compressed.hexdigest()} of {size} bytes")
    elif damage:
        wrong("part-damaged", damage)
    elif raw.hexdigest() != part.raw_sha256:
        wrong("part-changed", f"wanted the SHA-256 {part.raw_sha256} of its lines, found another")
    elif found != part.streams or rest:
        wrong("part-counts", f"wanted {part.records} records, found {sum(found.values())}")
    elif not in_order or (_ns(first), _ns(last)) != (part.first_ns, part.last_ns):
        wrong("part-order", "its records are not in the order and between the times it says")
    return problems


def _ns(line: bytes) -> str:
    return str(lines.timestamp(line))


def _check_hours_are_there(chosen: list[HourState], report: Report) -> None:
    there = {hour.start for hour in chosen}
    for start in hours(chosen[0].start, chosen[-1].start + HOUR):
        if start not in there:
            text = f"{rfc3339(start)}: no manifest says anything of this hour"
            report.add("hour-missing", rfc3339(start), text)
    for hour in chosen[:-1]:
        if not hour.complete:
            text = f"{rfc3339(hour.start)}: archived up to {rfc3339(hour.until)} only"
            report.add("hour-incomplete", rfc3339(hour.start), text)


def _check_objects(
    archive: Archive, ledger: Ledger, chosen: list[HourState], report: Report
) -> None:
    """What lies in the bucket: parts that are gone, cut, written over, or belong to nothing."""
    prefix = tenant_prefix(archive.tenant)
    versions = archive.store.versions(prefix)
    # SeaweedFS goes on listing an object that was lost below it, and lists no version of it.
    stored = {item.key: item.size for item in archive.store.listing(prefix) if item.key in versions}
    for hour in chosen:
        gone = [key for key in hour.parts if key not in stored]
        report.hours_expired += bool(gone) and may_have_expired(archive, hour)
        for part in hour.parts.values():
            if part.key not in stored:
                if not may_have_expired(archive, hour):
                    report.add("part-missing", part.key, f"{part.key}: {NOT_THERE}")
            elif stored[part.key] != part.compressed_bytes:
                text = f"wanted {part.compressed_bytes} bytes, found {stored[part.key]}"
                report.add("part-size", part.key, f"{part.key}: {text}")
        for key in hour.replaced:
            if key in stored:
                text = f"{key}: erased records are still there. Run the same erase again"
                report.add("erased-part-there", key, text)
    for key, numbers in versions.items():
        if len(numbers) > 1:
            text = f"{key}: there are {len(numbers)} versions of it, it was written over"
            report.add("written-over", key, text)
    for key in sorted(stored.keys() - ledger.named_keys):
        if not key.startswith(manifests_prefix(archive.tenant)):
            text = f"{key}: no manifest names it: an exporter ended before it sealed the hour"
            report.notes.append(Problem("part-unsealed", key, text))


def _check_engine(archive: Archive, chosen: list[HourState], report: Report) -> None:
    """Compare counts for the hours that the engine must still have."""
    now = archive.now()
    kept = now - timedelta(days=archive.settings.retention.hot_days)
    hot = [
        hour
        for hour in chosen
        if hour.start >= kept
        and hour.engine == archive.engine.name
        and not may_have_expired(archive, hour)
    ]
    if not hot:
        return
    try:
        counts = archive.engine.hourly_counts(hot[0].start, hot[-1].until)
    except EngineError as error:
        report.add("engine-silent", archive.engine.name, f"counts were not compared: {error}")
        return
    gone = archive.dropped_days()
    for hour in hot:
        report.hours_compared_with_engine += 1
        accounted = add(hour.streams, hour.erased)
        difference = subtract(counts.get(hour.start, {}), accounted)
        dropped = f"{hour.start:%Y-%m-%d}" in gone
        for stream, count in difference.items():
            if count < 0 and (dropped or shorter.may_lack(archive, hour.start, stream)):
                continue
            has = counts.get(hour.start, {}).get(stream, 0)
            name = rfc3339(hour.start)
            text = (
                f"{name}: the archive has {accounted.get(stream, 0)} records of {stream}, "
                f"the engine {has}"
            )
            if count > 0 and hour.start + HOUR > now - archive.lateness:
                text += ". They came late: the next `archive run` takes them"
                report.notes.append(Problem("late-records", name, text))
            else:
                report.add("engine-counts", name, text)
