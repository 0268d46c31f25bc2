"""The chain of manifests in the store, and the state of each hour.

The number of a manifest is its key, and a key can be stored once: of two exporters that write the
same number one is refused, reads the chain again and continues from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stack.archive import ArchiveError
from stack.archive.failpoints import failpoint
from stack.archive.format.layout import manifest_key, sequence_of
from stack.archive.format.manifest import (
    Erasure,
    Manifest,
    Part,
    SignatureError,
    add,
    max_by_stream,
    parse,
    sha256,
    signed,
)
from stack.archive.storage.documents import (
    LISTED_ONLY,
    Candidates,
    SignedDocument,
    UnsignedError,
    cache_path,
    cached_files,
    newest_first,
    older_documents,
    read_documents,
    signed_document,
)
from stack.archive.storage.store import WITH_READER, Store
from stack.settings.secrets import write_private


@dataclass(frozen=True)
class Tombstone:
    """An erasure and its moment, from which on records are archived again."""

    erasure: Erasure
    created: datetime

    @property
    def until(self) -> datetime | None:
        """The moment before which records are excluded; None: all are."""
        return None if self.erasure.future else self.created


@dataclass
class HourState:
    """The state of an hour after all of its manifests.

    `erased` counts erased records by stream; `numbers` is the number of the next part, `manifests`
    are the numbers of its manifests.
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
        self.erasures: list[Tombstone] = []
        self.strays: set[int] = set()  # numbers under which others stored something
        self.length = 0
        self.head = ""
        self.heads: dict[int, str] = {}  # the hash of each manifest by its number

    def refresh(self) -> Ledger:
        """Read what was added to the store; without a reader's key, to this machine's cache.

        Raises ArchiveError where the chain is broken.
        """
        with _hint():
            if self.cache and not self.store.can_read:
                self._read_cache(self.cache)
            else:
                self._read_store()
        return self

    def refresh_cached(self) -> Ledger:
        """Read the cache, which is signed and not compared with the store, and what is newer."""
        with _hint():
            if self.cache:
                self._read_cache(self.cache)
            if self.store.can_read:
                self._read_store()
        return self

    def _read_store(self) -> None:
        last = manifest_key(self.tenant, self.length - 1) if self.length else ""
        found: dict[int, list[bytes]] = {}
        for listed, document in read_documents(self.store, self.tenant, self.cache, after=last):
            number = sequence_of(self.tenant, listed.key)
            if number is None:
                continue  # no manifest has such a key: verify reports it
            if document is None:
                raise ArchiveError(f"cannot read {listed.key}: {LISTED_ONLY}")
            found[number] = [document]
        self._extend(found, lambda number: older_documents(self.store, self._key_of(number)))

    def _read_cache(self, cache: Path) -> None:
        """Append the cached manifests as far as they go.

        A number has several files where a manifest was rewritten, or where a store's ETag is not
        an MD5: the one that continues the chain counts.
        """
        files = cached_files(cache)
        known: dict[int, list[bytes]] = {}
        while (number := self.length + len(known)) in files:
            known[number] = [path.read_bytes() for path in files[number]]
        self._extend(known)

    def cached_only(self, stored: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Keys and documents of this machine's manifests that are not `stored`, in order.

        They are those that continue the chain, which this ledger appends; it has to be new.
        """
        for number, paths in sorted(cached_files(self.cache).items() if self.cache else ()):
            key = self._key_of(number)
            for document in (path.read_bytes() for path in paths):
                with suppress(ArchiveError):
                    self.append(key, self._sealed(number, document))
                    if key not in stored:
                        yield key, document
                    break
            else:
                self.strays.add(number)

    def _extend(
        self,
        documents: Mapping[int, list[bytes]],
        older: Callable[[int], list[bytes]] = lambda number: [],
    ) -> None:
        """Append manifests by their numbers, each with the documents that it may be.

        The writer's key can store anything under the next number. What has no valid signature is a
        stray where the next manifest follows the one before it, or where none follows, so that it
        stops nothing: the chain continues under the number after it. `older` gives what was
        stored before something without a signature. Raises ArchiveError.
        """
        strays: dict[int, ArchiveError] = {}
        documents = {n: found for n, found in documents.items() if n not in self.strays}
        for number, candidates in reversed(list(newest_first(documents, self._sealed, older))):
            error = self._append_one_of(self._key_of(number), candidates, strays)
            if error is None:
                self.strays |= set(strays)
                strays = {}
            elif isinstance(error, UnsignedError):
                strays[number] = error
            else:
                raise next(iter(strays.values()), error)
        causes = (error.__cause__ for error in strays.values())
        foreign = [cause for cause in causes if isinstance(cause, SignatureError)]
        if foreign and not self.length:  # a wrong signing key rather than strays
            raise foreign[0]
        self.strays |= set(strays)

    def _sealed(self, number: int, document: bytes, named: Collection[str] = ()) -> SignedDocument:
        return signed_document(self._key_of(number), document, self.key.public_key(), named)

    def _append_one_of(
        self,
        name: str,
        candidates: Candidates,
        strays: Collection[int],
    ) -> ArchiveError | None:
        """Append the first that is next in the chain; the error of the last one where none is."""
        error: ArchiveError | None = None
        for item in candidates:
            if isinstance(item, UnsignedError):
                error = item
                continue
            try:
                self.append(name, item, strays)
            except ArchiveError as caught:
                error = caught
            else:
                return None
        return error

    def append(self, name: str, item: SignedDocument, strays: Collection[int] = ()) -> None:
        """Add the next manifest; `strays` are numbers after the last one that others took.

        Numbers may be absent where a stray was deleted: the hash of the manifest before says that
        none is missing. Raises ArchiveError when it is not the next one.
        """
        manifest = item.manifest
        number = self.length
        while number in strays or number in self.strays:
            number += 1
        expected = self._key_of(number)
        if name != expected and manifest.previous_sha256 != self.head:
            raise ArchiveError(f"{expected}: this manifest is missing; the next one is {name}")
        if self._key_of(manifest.sequence) != name:
            raise ArchiveError(f"{name}: it holds manifest {manifest.sequence}")
        if manifest.previous_sha256 != self.head:
            raise ArchiveError(
                f"{name}: the chain is broken: expected previous_sha256 {self.head or 'empty'}, "
                f"got {manifest.previous_sha256 or 'empty'}"
            )
        if manifest.tenant != self.tenant:  # a cached manifest may be another tenant's
            raise ArchiveError(f"{name}: expected tenant {self.tenant}, got {manifest.tenant}")
        self.take(manifest)
        self.head = self.heads[manifest.sequence] = item.sha256

    def _key_of(self, number: int) -> str:
        return manifest_key(self.tenant, number)

    @property
    def next_number(self) -> int:
        """The number of the next manifest: the first that is free."""
        number = self.length
        while number in self.strays:
            number += 1
        return number

    def take(self, manifest: Manifest) -> None:
        """Apply a manifest to the state of its hour."""
        hour = self.hours.setdefault(
            manifest.start,
            HourState(manifest.start, manifest.until, manifest.complete, manifest.engine),
        )
        hour.until = max(hour.until, manifest.until)
        hour.complete = hour.complete or manifest.complete
        if manifest.erasure is not None:
            self.erasures.append(Tombstone(manifest.erasure, manifest.created))
            hour.erased = add(hour.erased, manifest.erasure.streams)
            for part in manifest.erasure.replaced:
                hour.parts.pop(part.key, None)
                hour.replaced[part.key] = part
        hour.erased = max_by_stream(hour.erased, manifest.suppressed_streams)
        hour.parts |= {part.key: part for part in manifest.parts}
        hour.numbers += len(manifest.parts)
        hour.manifests.append(manifest.sequence)
        self.length = manifest.sequence + 1

    def draft(self, **values: Any) -> Manifest:
        """The next manifest, yet to be written. Its numbers of records are those of its streams."""
        return Manifest(
            tenant=self.tenant,
            sequence=self.next_number,
            previous_sha256=self.head,
            exporter_version=version("logstack"),
            engine_records=sum(values["engine_streams"].values()),
            archived_records=sum(values["archived_streams"].values()),
            **values,
        )

    def write(self, manifest: Manifest) -> bool:
        """Store and append the next manifest; False when another exporter was faster.

        Raises ArchiveError where it was and its manifest cannot be read.
        """
        name = manifest_key(self.tenant, manifest.sequence)
        document = signed(manifest, self.key)
        stored = self.store.put(name, document, sha256(document))
        if self.store.can_read:
            if self.store.get(name) != document:
                return False
        elif not stored:
            raise ArchiveError(
                f"cannot store {name}: another exporter has written it, or an erase, or a killed "
                "run of this machine. Nothing is lost. Read it once with the reader's key. "
                f"Run: {WITH_READER}"
            )
        failpoint("manifest-stored")
        if self.cache:  # most stores' ETag is the MD5; where it is not, this copy is not used
            etag = hashlib.md5(document, usedforsecurity=False).hexdigest()
            write_private(cache_path(self.cache, name, etag), document.decode())
        self.append(name, SignedDocument(parse(document, None), sha256(document)))
        return True

    @property
    def part_keys(self) -> set[str]:
        """The current parts of all hours."""
        return {key for hour in self.hours.values() for key in hour.parts}

    @property
    def named_keys(self) -> set[str]:
        """Every part that a manifest names, including those that erasures replaced."""
        return {key for hour in self.hours.values() for key in (*hour.parts, *hour.replaced)}

    def between(self, since: datetime, until: datetime) -> Iterator[HourState]:
        """The hours that overlap [since, until), in order."""
        for start in sorted(self.hours):
            hour = self.hours[start]
            if start < until and hour.until > since:
                yield hour


@contextmanager
def _hint() -> Iterator[None]:
    """Add the command to run to an ArchiveError that has none."""
    try:
        yield
    except ArchiveError as error:
        hint = "" if "Run: " in str(error) else ". Run: ./logstack archive verify"
        raise ArchiveError(f"{error}{hint}") from None
