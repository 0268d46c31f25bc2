"""Undoes what somebody with the writer's key can do to a bucket, and stores again what is here.

It never invents: a part or manifest that neither the store nor this machine has stays missing, and
`verify` continues to report it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from stack.archive import ArchiveError, rebuild
from stack.archive.context import Archive
from stack.archive.format.layout import manifest_key, manifests_prefix, tenant_prefix
from stack.archive.format.manifest import Part, parse, sha256
from stack.archive.storage.bucket import foreign_rules, remove_foreign_rules
from stack.archive.storage.ledger import Ledger
from stack.archive.storage.parts import sealed_version
from stack.archive.verify import Report, check_chain
from stack.engines import EngineError


@dataclass
class Repaired:
    """The keys of objects that are as they were sealed again, by what was done.

    `rebuilt`: parts were stored again from the engine.
    `uncovered`: newer versions, or delete markers, were deleted. `stored`: manifests of this
    machine were stored again. `deleted`: strays. `rules`: of the bucket, deleted. `kept` says why
    something could not be repaired.
    """

    uncovered: list[str] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    rebuilt: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def run(archive: Archive) -> Repaired:
    """Repair what can be; needs all three keys. Raises ArchiveError."""
    result = Repaired()
    store, settings = archive.store, archive.settings.archive
    with archive.exclusive_lock():
        _store_manifests(archive, result)
        report = Report()
        ledger = check_chain(archive, report)
        _uncover(archive, ledger, result)
        for key in report.strays:
            for version in store.versions_of(key):
                store.delete(key, version)
            result.deleted.append(key)
        _rebuild(archive, ledger, result)
        result.rules = foreign_rules(store, settings)
        if result.rules:
            remove_foreign_rules(store, settings)
    return result


def _rebuild(archive: Archive, ledger: Ledger, result: Repaired) -> None:
    """Store parts again that the engine still has the records of; it may be away."""
    try:
        for hour, part in rebuild.damaged_parts(archive, ledger):
            try:
                reason = rebuild.store_again(archive, ledger, hour, part)
            except ArchiveError as error:  # such as another damaged part of the same time
                reason = str(error)
            if reason:
                result.kept.append(f"{part.key}: {reason}")
            else:
                result.rebuilt.append(part.key)
                result.kept = [text for text in result.kept if not text.startswith(part.key)]
    except (ArchiveError, EngineError) as error:
        result.kept.append(f"parts of days in {archive.engine.name}: {error}")


def _store_manifests(archive: Archive, result: Repaired) -> None:
    """Store the manifests that only this machine's cache has, as far as they continue the chain."""
    cached = Ledger(archive.store, archive.tenant, archive.key, archive.manifests)
    stored = {item.key for item in archive.store.listing(manifests_prefix(archive.tenant))}
    for key, document in cached.cached_only(stored):
        if archive.store.put(key, document, sha256(document)):
            result.stored.append(key)


def _uncover(archive: Archive, ledger: Ledger, result: Repaired) -> None:
    """Delete what was stored over a part or manifest, and the markers that hide one."""
    store, prefix = archive.store, tenant_prefix(archive.tenant)
    versions = store.versions(prefix)
    markers = store.versions(prefix, "DeleteMarkers")
    parts = {key: part for hour in ledger.hours.values() for key, part in hour.parts.items()}
    covered = {key for key, held in versions.items() if len(held) > 1} | markers.keys()
    for key in sorted(covered):
        good = _sealed(archive, key, parts.get(key))
        if good not in versions.get(key, []):
            if key in parts:
                result.kept.append(f"{key}: no version of it is as its manifest says")
            continue
        newer = versions[key][: versions[key].index(good)]
        for version in (*newer, *markers.get(key, [])):
            store.delete(key, version)
        if newer or key in markers:
            result.uncovered.append(key)


def _sealed(archive: Archive, key: str, part: Part | None) -> str:
    """The version of a part or manifest that this archive sealed; empty where none is."""
    if part is not None:
        return sealed_version(archive.store, part)
    if not key.startswith(manifests_prefix(archive.tenant)):
        return ""
    return next(_signed_versions(archive, key), "")


def _signed_versions(archive: Archive, key: str) -> Iterator[str]:
    for version in archive.store.versions_of(key):
        try:
            document = b"".join(archive.store.chunks(key, version))
            manifest = parse(document, archive.key.public_key())
        except ArchiveError:
            continue
        if manifest_key(archive.tenant, manifest.sequence) == key:
            yield version
