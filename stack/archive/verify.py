"""Checks the archive against its manifests and, for recent hours, against the engine.

It finds missing manifests and hours, rewritten manifests, missing, changed and overwritten parts,
and counts that differ. It continues after a problem, so that the report names all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

from stack.archive import ArchiveError, anchors, early_expiry
from stack.archive.context import Archive, OnProgress, no_progress
from stack.archive.format import lines
from stack.archive.format.layout import (
    HOUR,
    day_name,
    hour_name,
    hours,
    manifest_key,
    manifests_prefix,
    rfc3339,
    sequence_of,
    tenant_prefix,
)
from stack.archive.format.manifest import Counts, Manifest, Part, add, parse, sha256, subtract
from stack.archive.lifecycle import is_held, may_have_expired
from stack.archive.storage.documents import LISTED_ONLY, older_documents, read_documents
from stack.archive.storage.ledger import HourState, Ledger
from stack.archive.storage.parts import decompress
from stack.archive.storage.store import MissingError, StoreError
from stack.common.counted import counted
from stack.engines import EngineError

REPAIR = "Run: ./logstack archive repair"
STRAY = f"it is not a manifest. Somebody stored it with the writer's or admin's key. {REPAIR}"
NOT_IN_STORE = "it is not in the store (404)"


@dataclass(frozen=True)
class Problem:
    """`kind` is an identifier, `what` the object or hour, `text` a sentence to print."""

    kind: str
    what: str
    text: str


@dataclass
class Report:
    """What was checked, and the problems. `notes` need no action."""

    since: str = ""
    until: str = ""
    head: str = ""
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
    strays: list[str] = field(default_factory=list)

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
    head: str = "",
    on_progress: OnProgress = no_progress,
) -> Report:
    """Check the hours that overlap [since, until), the whole chain in any case.

    `head`: a head of the chain that somebody wrote down, which it must have.

    `deep` reads every part back and counts its records; one that cannot be read is a problem in the
    report. Raises StoreError when the store cannot be listed or a manifest cannot be read.
    """
    report = Report(deep=deep)
    ledger = check_chain(archive, report)
    report.head = anchors.head_of(ledger)
    for anchor in anchors.known(archive, head):
        if problem := anchor.problem(ledger):
            report.add("rolled-back", anchor.source, problem)
    chosen = [
        hour
        for start, hour in sorted(ledger.hours.items())
        if (until is None or start < until) and (since is None or start + HOUR > since)
    ]
    if chosen:
        report.since = rfc3339(chosen[0].start)
        report.until = rfc3339(chosen[-1].start + HOUR)
        _check_gaps(chosen, report)
        _check_objects(archive, ledger, chosen, report)
        _check_engine(archive, chosen, report)
    missing = {item.what for item in report.problems if item.kind == "part-missing"}
    for hour in chosen:
        report.hours += 1
        on_progress(hour_name(hour.start), "checking")
        for part in hour.parts.values():
            report.parts += 1
            report.records += part.records
            report.raw_bytes += part.raw_bytes
            report.compressed_bytes += part.compressed_bytes
            if deep and part.key not in missing and not may_have_expired(archive, hour):
                report.problems += check_part(archive, part)
        on_progress(hour_name(hour.start), "checked")
    return report


def check_chain(archive: Archive, report: Report) -> Ledger:
    """Read every manifest from the store; one with a problem is reported and skipped.

    Where a manifest follows the last valid one directly, what has no valid signature between them
    is a stray: no manifest was changed.
    """
    ledger = Ledger(archive.store, archive.tenant, archive.key)
    expected, head, head_known = 0, "", True
    unsigned: list[tuple[str, str]] = []
    for listed, document in read_documents(archive.store, archive.tenant):
        report.manifests += 1
        number = sequence_of(archive.tenant, listed.key)
        if number is None:
            _report_strays([listed.key], report)
            continue
        if document is None:
            report.add("manifest-missing", listed.key, f"{listed.key}: {LISTED_ONLY}")
            expected, head_known = expected + 1, False
            continue
        try:
            manifest, document = _newest_signed(archive, listed.key, document)
        except ArchiveError as error:
            if number == expected:
                unsigned.append((listed.key, str(error)))
                expected += 1
            else:  # no manifest precedes it
                _report_strays([listed.key], report)
            continue
        follows = manifest.previous_sha256 == head
        for absent in range(expected, manifest.sequence) if not follows else ():
            name = manifest_key(archive.tenant, absent)
            report.add("manifest-missing", name, f"{name}: this manifest is missing")
            head_known = False
        if follows:
            _report_strays([key for key, _ in unsigned], report)
        else:
            _report_changed(unsigned, report)
        unsigned.clear()
        if head_known and not follows:
            text = f"{listed.key}: its previous_sha256 is not the hash of the previous manifest"
            report.add("chain-broken", listed.key, text)
        if listed.key != manifest_key(archive.tenant, manifest.sequence):
            text = f"{listed.key}: it holds manifest {manifest.sequence}"
            report.add("manifest-changed", listed.key, text)
        ledger.take(manifest)
        head, expected, head_known = sha256(document), manifest.sequence + 1, True
        ledger.heads[manifest.sequence] = ledger.head = head
    _report_changed(unsigned, report)
    for absent in range(expected, archive.state().get("length", 0)):
        name = manifest_key(archive.tenant, absent)
        report.add(
            "manifest-missing", name, f"{name}: this machine has written it, but it is missing"
        )
    return ledger


def _newest_signed(archive: Archive, key: str, document: bytes) -> tuple[Manifest, bytes]:
    """The newest version under a manifest's key that this archive's key signed. ArchiveError."""
    try:
        return parse(document, archive.key.public_key()), document
    except ArchiveError:
        for older in older_documents(archive.store, key):
            with suppress(ArchiveError):
                return parse(older, archive.key.public_key()), older
        raise


def _report_strays(keys: list[str], report: Report) -> None:
    for key in keys:
        report.strays.append(key)
        report.add("stray-object", key, f"{key}: {STRAY}")


def _report_changed(unsigned: list[tuple[str, str]], report: Report) -> None:
    for key, error in unsigned:
        report.add("manifest-changed", key, f"{key}: {error}")


class PartReader:
    """Reads the bytes of a part once and collects what its manifest states: hashes and counts.

    `damage` says why it cannot be decompressed or split into lines; then the counts are partial.
    """

    def __init__(self) -> None:
        self.compressed, self.raw = hashlib.sha256(), hashlib.sha256()
        self.size = 0
        self.counts: dict[bytes, int] = {}
        self.first = self.last = self.rest = b""
        self.in_order = True
        self.damage = ""

    def read(self, chunks: Iterator[bytes]) -> None:
        """Read a whole part. Raises StoreError."""
        hashed = self._hash(chunks)
        try:
            for block in decompress(hashed):
                self._count(block)
        except StoreError:
            raise
        except (ArchiveError, ValueError) as error:
            self.damage = str(error)
        for _ in hashed:  # the rest of a damaged part, for its hash
            pass

    @property
    def streams(self) -> Counts:
        return {stream.decode("utf-8", "replace"): n for stream, n in sorted(self.counts.items())}

    @property
    def times(self) -> tuple[str, str]:
        return str(lines.timestamp(self.first)), str(lines.timestamp(self.last))

    def _hash(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.compressed.update(chunk)
            self.size += len(chunk)
            yield chunk

    def _count(self, block: bytes) -> None:
        self.raw.update(block)
        *whole, self.rest = (self.rest + block).split(b"\n")
        for line in whole:
            stream = lines.stream(line)
            self.counts[stream] = self.counts.get(stream, 0) + 1
            self.in_order = self.in_order and self.last <= line
            self.first, self.last = self.first or line, line


def check_part(archive: Archive, part: Part) -> list[Problem]:
    """Read a part back and compare hashes, sizes, order, times and counts: no or one problem.

    `part-missing`: the store does not have it, whatever it lists. `part-unreadable`: the store
    cannot be read, which says nothing about the part.
    """
    reader = PartReader()
    try:
        reader.read(archive.store.chunks(part.key))
    except MissingError:
        problem = ("part-missing", NOT_IN_STORE)
    except StoreError as error:
        problem = ("part-unreadable", str(error))
    else:
        problem = _compare(part, reader)
    kind, text = problem
    return [Problem(kind, part.key, f"{part.key}: {text}")] if kind else []


def _compare(part: Part, reader: PartReader) -> tuple[str, str]:
    """The kind and text of the first difference from the manifest; empty where there is none."""
    sha256 = reader.compressed.hexdigest()
    if sha256 != part.compressed_sha256:
        return "part-changed", (
            f"expected the SHA-256 {part.compressed_sha256} of "
            f"{counted(part.compressed_bytes, 'byte')}, "
            f"got {sha256} of {counted(reader.size, 'byte')}"
        )
    if reader.damage:
        return "part-damaged", reader.damage
    if reader.raw.hexdigest() != part.raw_sha256:
        text = f"expected the SHA-256 {part.raw_sha256} of its lines, got {reader.raw.hexdigest()}"
        return "part-changed", text
    if reader.streams != part.streams or reader.rest:
        count = sum(reader.counts.values())
        return "part-counts", f"expected {counted(part.records, 'record')}, got {count}"
    if not reader.in_order or reader.times != (part.first_ns, part.last_ns):
        return "part-order", "its records are not sorted or not between its first and last time"
    return "", ""


def _check_gaps(chosen: list[HourState], report: Report) -> None:
    known = {hour.start for hour in chosen}
    for start in hours(chosen[0].start, chosen[-1].start + HOUR):
        if start not in known:
            text = f"{rfc3339(start)}: no manifest covers this hour"
            report.add("hour-missing", rfc3339(start), text)
    for hour in chosen[:-1]:
        if not hour.complete:
            text = f"{rfc3339(hour.start)}: archived only up to {rfc3339(hour.until)}"
            report.add("hour-incomplete", rfc3339(hour.start), text)


def _check_objects(
    archive: Archive, ledger: Ledger, chosen: list[HourState], report: Report
) -> None:
    """Parts that are missing, truncated, overwritten, or named by no manifest."""
    prefix = tenant_prefix(archive.tenant)
    versions = archive.store.versions(prefix)
    # SeaweedFS still lists an object whose data was lost, but no version of it.
    stored = {item.key: item.size for item in archive.store.listing(prefix) if item.key in versions}
    for hour in chosen:
        missing = [key for key in hour.parts if key not in stored]
        expired = may_have_expired(archive, hour)
        report.hours_expired += bool(missing) and expired
        for key in missing:
            if not expired:
                report.add("part-missing", key, f"{key}: {NOT_IN_STORE}")
            elif key in versions and is_held(archive, key):
                text = f"{key}: a legal hold keeps it, but a delete marker hides it. {REPAIR}"
                report.add("part-missing", key, text)
        for key, part in hour.parts.items():
            if key in stored and stored[key] != part.compressed_bytes:
                text = (
                    f"{key}: expected {counted(part.compressed_bytes, 'byte')}, got {stored[key]}"
                )
                report.add("part-size", key, text)
        for key in hour.replaced:
            if key in stored:
                text = f"{key}: erased records are still in the store. Run the same erase again"
                report.add("erased-part-there", key, text)
    for key, numbers in versions.items():
        if len(numbers) > 1:
            text = (
                f"{key}: it was overwritten: the store has {len(numbers)} versions. Search and "
                f"restore use the one that the manifest states. {REPAIR}"
            )
            report.add("written-over", key, text)
    for key in sorted(stored.keys() - ledger.named_keys):
        if not key.startswith(manifests_prefix(archive.tenant)):
            text = f"{key}: no manifest names it: an exporter ended before it sealed the hour"
            report.notes.append(Problem("part-orphaned", key, text))


def _check_engine(archive: Archive, chosen: list[HourState], report: Report) -> None:
    """Compare the counts of hours that the engine must still have."""
    now = archive.now()
    oldest = now - timedelta(days=archive.settings.retention.hot_days)
    hot = [
        hour
        for hour in chosen
        if hour.start >= oldest
        and hour.engine == archive.engine.name
        and not may_have_expired(archive, hour)
    ]
    if not hot:
        return
    try:
        counts = archive.engine.hourly_counts(hot[0].start, hot[-1].until)
    except EngineError as error:
        name = archive.engine.name
        report.add("engine-unreachable", name, f"cannot compare counts with {name}: {error}")
        return
    for hour in hot:
        report.hours_compared_with_engine += 1
        _compare_counts(archive, hour, counts.get(hour.start, {}), report)


def _compare_counts(archive: Archive, hour: HourState, counts: Counts, report: Report) -> None:
    """Report the streams whose count differs, unless this machine deleted their records."""
    accounted = add(hour.streams, hour.erased)
    dropped = day_name(hour.start) in archive.dropped_days()
    for stream, count in subtract(counts, accounted).items():
        if count < 0 and (dropped or early_expiry.may_lack(archive, hour.start, stream)):
            continue
        if count < 0 and -count <= hour.erased.get(stream, 0):
            continue  # erased in the engine, too
        name = rfc3339(hour.start)
        text = (
            f"{name}: the archive has {counted(accounted.get(stream, 0), 'record')} of {stream}, "
            f"the engine {counts.get(stream, 0)}"
        )
        if count > 0 and hour.start + HOUR > archive.now() - archive.lateness:
            text += ". They are late: the next `archive run` archives them"
            report.notes.append(Problem("late-records", name, text))
        else:
            report.add("engine-counts", name, text)
