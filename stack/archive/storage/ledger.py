"""The chain of manifests as it is in the store, and what it says of each hour.

The number of a manifest is its key, and a key can be taken once: of two exporters that write the
same number one is refused, reads again and goes on from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stack.archive import ArchiveError
from stack.archive.failpoints import failpoint
from stack.archive.format.layout import manifest_key, manifests_prefix
from stack.archive.format.manifest import (
    Erasure,
    Manifest,
    Part,
    add,
    largest,
    parse,
    sha256,
    signed,
)
from stack.archive.storage.store import WITH_READER, Listed, MissingError, Store
from stack.settings.secrets import write_private

READERS = 8
LISTED_ONLY = "the store lists it and answers that there is no such object (404)"


@dataclass
class HourState:
    """An hour as its manifests leave it.

    `erased` counts what tombstones took out, by stream; `manifests` are their numbers.
    """

    start: datetime
    until: datetime
    complete: bool
    engine: str
    parts: dict[str, Part] = field(default_factory=dict)
    replaced: dict[str, Part] = field(default_factory=dict)
    erased: dict[str, int] = field(default_factory=dict)
    numbers: int = 0
    manifests: list[int] = field(default_factory=list)

    @property
    def streams(self) -> dict[str, int]:
        return add(*(part.streams for part in self.parts.values()))

    @property
    def records(self) -> int:
        return sum(part.records for part in self.parts.values())


class Ledger:
    """The manifests of one tenant, in order."""

    def __init__(
        self, store: Store, tenant: str, key: Ed25519PrivateKey, cache: Path | None = None
    ) -> None:
        self.store = store
        self.tenant = tenant
        self.key = key
        self.cache = cache
        self.hours: dict[datetime, HourState] = {}
        self.erasures: list[Erasure] = []
        self.length = 0
        self.head = ""

    def refresh(self, *, trust_cache: bool = False) -> Ledger:
        """Read what has been added; without a reader's key, what this machine has cached of it.

        `trust_cache`: what is cached is signed, and is not compared with the store again. Raises
        ArchiveError where the chain is broken.
        """
        try:
            if self.cache and (trust_cache or not self.store.can_read):
                self._read_cache(self.cache)
            if self.store.can_read or self.cache is None:
                behind = trust_cache and self.length > 0
                last = manifest_key(self.tenant, self.length - 1) if behind else ""
                known = 0 if behind else self.length
                documents = read_documents(self.store, self.tenant, self.cache, after=last)
                for listed, document in documents[known:]:
                    if document is None:
                        raise ArchiveError(f"cannot read {listed.key}: {LISTED_ONLY}")
                    self.append(listed.key, document)
        except ArchiveError as error:
            hint = "" if "Type: " in str(error) else ". Type: ./logstack archive verify"
            raise ArchiveError(f"{error}{hint}") from None
        return self

    def _read_cache(self, cache: Path) -> None:
        """Take in the cached manifests as far as they go; of two with a number, the one to fit."""
        cached: dict[str, list[Path]] = {}
        for path in sorted(cache.glob("*.json")):
            cached.setdefault(path.stem.partition("-")[0], []).append(path)
        name = manifest_key(self.tenant, self.length)
        while paths := cached.get(Path(name).stem):
            for left, path in reversed(list(enumerate(paths))):
                try:
                    self.append(name, path.read_bytes())
                    break
                except ArchiveError:
                    if not left:
                        raise
            name = manifest_key(self.tenant, self.length)

    def append(self, name: str, document: bytes) -> Manifest:
        """Take in the next manifest. Raises ArchiveError when it is not the next one."""
        wanted = manifest_key(self.tenant, self.length)
        if name != wanted:
            raise ArchiveError(f"{wanted}: wanted the next manifest, found {name}: one is missing")
        try:
            manifest = parse(document, self.key.public_key())
        except ArchiveError as error:
            raise ArchiveError(f"{name}: {error}") from None
        if (manifest.sequence, manifest.previous_sha256) != (self.length, self.head):
            raise ArchiveError(
                f"{name}: wanted it to follow {self.head or 'nothing'}, "
                f"found {manifest.previous_sha256 or 'nothing'}: the chain is broken"
            )
        if manifest.tenant != self.tenant:  # what is cached may be of another one
            raise ArchiveError(f"{name}: wanted tenant {self.tenant}, found {manifest.tenant}")
        self.take(manifest)
        self.head = sha256(document)
        return manifest

    def take(self, manifest: Manifest) -> None:
        """Fold a manifest into what is known of its hour."""
        hour = self.hours.setdefault(
            manifest.start,
            HourState(manifest.start, manifest.until, manifest.complete, manifest.engine),
        )
        hour.until = max(hour.until, manifest.until)
        hour.complete = hour.complete or manifest.complete
        if manifest.erasure is not None:
            self.erasures.append(manifest.erasure)
            hour.erased = add(hour.erased, manifest.erasure.streams)
            for part in manifest.erasure.replaced:
                hour.parts.pop(part.key, None)
                hour.replaced[part.key] = part
        hour.erased = largest(hour.erased, manifest.suppressed_streams)
        hour.parts |= {part.key: part for part in manifest.parts}
        hour.numbers += len(manifest.parts)
        hour.manifests.append(manifest.sequence)
        self.length = manifest.sequence + 1

    def write(self, manifest: Manifest) -> bool:
        """Store the next manifest and take it in; False when another exporter was faster.

        Raises ArchiveError where it was and its manifest cannot be read.
        """
        name = manifest_key(self.tenant, self.length)
        document = signed(manifest, self.key)
        stored = self.store.put(name, document, sha256(document))
        if self.store.can_read:
            if self.store.get(name) != document:
                return False
        elif not stored:
            raise ArchiveError(
                f"{name}: wanted to store the next manifest, found that there is one: another "
                "exporter has written it, or an erase, or a run of this machine that was killed. "
                f"Nothing is lost. Read it once with the reader's key: {WITH_READER}"
            )
        failpoint("manifest-stored")
        if self.cache:  # most stores' ETag is this; where it is not, the copy is never asked for
            etag = hashlib.md5(document, usedforsecurity=False).hexdigest()
            write_private(_cached(self.cache, name, etag), document.decode())
        self.append(name, document)
        return True

    @property
    def part_keys(self) -> set[str]:
        """The parts that count, of all hours."""
        return {key for hour in self.hours.values() for key in hour.parts}

    @property
    def named_keys(self) -> set[str]:
        """Every part that a manifest names, those included that erasures have replaced."""
        return {key for hour in self.hours.values() for key in (*hour.parts, *hour.replaced)}

    def between(self, since: datetime, until: datetime) -> Iterator[HourState]:
        """The hours that overlap [since, until), in order."""
        for start in sorted(self.hours):
            hour = self.hours[start]
            if start < until and hour.until > since:
                yield hour


def read_documents(
    store: Store, tenant: str, cache: Path | None = None, *, after: str = ""
) -> list[tuple[Listed, bytes | None]]:
    """Every manifest's text in the order of the keys, or those after one; None for one that the
    store lists and does not have.

    `cache` is a folder with the ones read before; a file there is used when the store lists the
    same ETag, and every document is checked by its signature all the same.
    """
    listed = store.listing(manifests_prefix(tenant), after)
    found: dict[str, bytes | None] = {}
    missing: list[Listed] = []
    for item in listed:
        path = _cached(cache, item.key, item.etag) if cache else None
        if path and path.is_file():
            found[item.key] = path.read_bytes()
        else:
            missing.append(item)

    def read(item: Listed) -> bytes | None:
        try:
            document = store.get(item.key)
        except MissingError:
            return None
        if cache:
            path = _cached(cache, item.key, item.etag)
            write_private(path, document.decode("utf-8", "replace"))
        return document

    if missing:
        _ = store.reader  # made here: boto3 clients are made by one thread and used by many
        with ThreadPoolExecutor(READERS) as pool:
            keys = [item.key for item in missing]
            found |= dict(zip(keys, pool.map(read, missing), strict=True))
    return [(item, found[item.key]) for item in listed]


def _cached(cache: Path, key: str, etag: str) -> Path:
    return cache / f"{Path(key).stem}-{etag}.json"
