"""The documents of manifests, of the store and of this machine's cache, and their signatures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from stack.archive import ArchiveError
from stack.archive.format.layout import manifests_prefix, sequence_of
from stack.archive.format.manifest import Manifest, parse, sha256
from stack.archive.storage.store import Listed, MissingError, Store
from stack.settings.secrets import write_private

READERS = 8
LISTED_ONLY = "the store lists it, but does not have it (404)"


class UnsignedError(ArchiveError):
    """An object under a manifest's key that this archive's key did not sign."""


@dataclass(frozen=True)
class SignedDocument:
    """A manifest that this archive's key signed, and the SHA-256 of its document."""

    manifest: Manifest
    sha256: str


def signed_document(
    name: str, document: bytes, key: Ed25519PublicKey, named: Collection[str] = ()
) -> SignedDocument:
    """A document with a valid signature, or whose hash is one of `named`. Raises UnsignedError."""
    digest = sha256(document)
    try:
        return SignedDocument(parse(document, None if digest in named else key), digest)
    except ArchiveError as error:
        raise UnsignedError(f"{name}: {error}") from error


Candidates = list[SignedDocument | UnsignedError]
Read = Callable[[int, bytes, Collection[str]], SignedDocument]


def newest_first(
    documents: Mapping[int, list[bytes]], read: Read, older: Callable[[int], list[bytes]]
) -> Iterator[tuple[int, Candidates]]:
    """What each document is, the newest number first; `older` gives what it was stored over.

    A signed manifest names the hash of the one before it, whose signature needs no check then: of
    the 8,760 manifests of a year that would take most of the time.
    """
    named: set[str] = set()

    def candidates(number: int, held: list[bytes]) -> Candidates:
        found: Candidates = []
        for document in held:
            try:
                item = read(number, document, named)
            except UnsignedError as error:
                found.append(error)
            else:
                named.add(item.manifest.previous_sha256)
                found.append(item)
        return found

    for number in sorted(documents, reverse=True):
        found = candidates(number, documents[number])
        if not any(isinstance(item, SignedDocument) for item in found):
            found += candidates(number, older(number))
        yield number, found


def read_documents(
    store: Store, tenant: str, cache: Path | None = None, *, after: str = ""
) -> list[tuple[Listed, bytes | None]]:
    """Every manifest's text in the order of the keys, or those after one; None for one that the
    store lists but does not have, empty for an object that has no manifest's key.

    `cache` is a folder with those read before; a file there is used when the store lists the same
    ETag. The signature of each is checked in any case.
    """
    listed = store.listing(manifests_prefix(tenant), after)
    found: dict[str, bytes | None] = {}
    missing: list[Listed] = []
    for item in listed:
        if sequence_of(tenant, item.key) is None:
            found[item.key] = b""
            continue
        path = cache_path(cache, item.key, item.etag) if cache else None
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
            path = cache_path(cache, item.key, item.etag)
            write_private(path, document.decode("utf-8", "replace"))
        return document

    if missing:
        _ = store.reader  # created before the threads share it: creating one is not thread-safe
        with ThreadPoolExecutor(READERS) as pool:
            keys = [item.key for item in missing]
            found |= dict(zip(keys, pool.map(read, missing), strict=True))
    return [(item, found[item.key]) for item in listed]


def older_documents(store: Store, key: str) -> list[bytes]:
    """What is stored under a manifest's key below the newest version, which anybody with the
    writer's key may have stored over it."""
    return [b"".join(store.chunks(key, version)) for version in store.versions_of(key)[1:]]


def cached_files(cache: Path) -> dict[int, list[Path]]:
    files: dict[int, list[Path]] = {}
    for path in sorted(cache.glob("*.json")):
        files.setdefault(int(path.stem.partition("-")[0]), []).append(path)
    return files


def cache_path(cache: Path, key: str, etag: str) -> Path:
    return cache / f"{Path(key).stem}-{etag}.json"
