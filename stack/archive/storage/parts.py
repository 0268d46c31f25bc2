"""Writes lines into compressed parts and reads parts back, in chunks."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Protocol

import zstandard

from stack.archive import ArchiveError
from stack.archive.failpoints import failpoint
from stack.archive.format import id_filter, lines
from stack.archive.format.layout import further_part_key, part_key
from stack.archive.format.manifest import Part
from stack.archive.storage.part_cache import PartCache
from stack.archive.storage.store import MissingError, Store

MOST_OWN_PARTS = 16  # services with own parts: each has a compressor with its buffers
MOST_THREADED = 1  # up to so many own parts are compressed in a second thread
BLOCK_BYTES = 256 * 1024
MOST_BATCH_BYTES = 4 * BLOCK_BYTES  # of lines written as a batch
READ_BYTES = 64 * 1024
# Decompressed at a time: repetitive lines can grow to a thousand times their size.
DECOMPRESS_BYTES = 4 * 1024


class Source(Protocol):
    """Gives the bytes of parts: the store, or this machine's copies."""

    def chunks(self, key: str, version: str = "") -> Iterator[bytes]:
        """An object, or one version of it, piece by piece. Raises ArchiveError."""


class FixedBlockWriter:
    """Passes bytes on in blocks of BLOCK_BYTES, so that equal bytes compress to equal bytes however
    they were cut when they were written."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._rest = b""

    def write(self, data: bytes) -> None:
        data = self._rest + data
        whole = len(data) - len(data) % BLOCK_BYTES
        for start in range(0, whole, BLOCK_BYTES):
            self._write(data[start : start + BLOCK_BYTES])
        self._rest = data[whole:]

    def finish(self) -> None:
        self._write(self._rest)


class PartWriter:
    """One part being written: compressed into a nameless file, hashed and counted."""

    def __init__(self, folder: Path, level: int, *, threaded: bool = False):
        """`threaded`: compress in a second thread, for some 20 MB more."""
        self.file = TemporaryFile(dir=folder)  # noqa: SIM115 -- closed by `close`
        compressor = zstandard.ZstdCompressor(
            level=level, write_checksum=True, threads=1 if threaded else 0
        )
        self._stream = compressor.stream_writer(self.file, closefd=False)
        self._blocks = FixedBlockWriter(self._stream.write)
        self._raw = hashlib.sha256()
        self._held: list[bytes] = []
        self._held_bytes = 0
        self.raw_bytes = 0
        self.streams: dict[bytes, int] = {}
        self.ids: set[bytes] = set()
        self.first = b""
        self.last = b""

    def write(self, line: bytes, stream: bytes) -> None:
        """Add a line; `stream` is `lines.stream` of it."""
        self.extend([line], len(line) + 1, {stream: 1})

    def extend(self, batch: list[bytes], size: int, streams: Mapping[bytes, int]) -> None:
        """Add lines of `size` bytes, line breaks included, with the counts of their streams."""
        self.first = self.first or batch[0]
        self.last = batch[-1]
        for stream, count in streams.items():
            self.streams[stream] = self.streams.get(stream, 0) + count
        self._held += batch
        self._held_bytes += size
        if self._held_bytes >= BLOCK_BYTES:
            self._flush()

    @property
    def size(self) -> int:
        return self.raw_bytes + self._held_bytes

    def finish(self, tenant: str, hour: datetime, number: int) -> Part:
        """End the compressed stream and describe the part; its file is then ready for upload."""
        self._flush()
        self._blocks.finish()
        self._stream.close()  # type: ignore[no-untyped-call]
        self.file.seek(0)
        sha256 = hashlib.file_digest(self.file, "sha256").hexdigest()
        size = self.file.tell()
        self.file.seek(0)
        streams = {
            stream.decode("utf-8", "replace"): count for stream, count in self.streams.items()
        }
        return Part(
            key=part_key(tenant, hour, number, sha256),
            services=tuple(sorted({service_of(stream) for stream in streams})),
            records=sum(streams.values()),
            streams=dict(sorted(streams.items())),
            raw_bytes=self.raw_bytes,
            raw_sha256=self._raw.hexdigest(),
            compressed_bytes=size,
            compressed_sha256=sha256,
            first_ns=str(lines.timestamp(self.first)),
            last_ns=str(lines.timestamp(self.last)),
            ids=id_filter.build(self.ids) if len(self.ids) <= id_filter.MOST_IDS else "",
        )

    def close(self) -> None:
        self.file.close()

    def _flush(self) -> None:
        data = b"\n".join([*self._held, b""])
        if len(self.ids) <= id_filter.MOST_IDS:
            self.ids |= id_filter.ids_in(data)
        self._raw.update(data)
        self.raw_bytes += len(data)
        self._held, self._held_bytes = [], 0
        self._blocks.write(data)


def service_of(stream: str) -> str:
    """The service_name among labels as JSON, or empty."""
    return str(json.loads(stream).get("service_name", ""))


def own_parts(streams: Mapping[str, int], threshold: int) -> frozenset[str]:
    """The services with own parts: the largest of those with `threshold` records or more."""
    totals: Counter[str] = Counter()
    for stream, count in streams.items():
        totals[service_of(stream)] += count
    large = [service for service, count in totals.items() if count >= threshold]
    return frozenset(sorted(large, key=lambda service: -totals[service])[:MOST_OWN_PARTS])


@dataclass(frozen=True)
class PartSpec:
    """How an hour's parts are written: `number` is the first one's, `own` the services with own
    parts, `folder` the place of work files, `part_bytes` the most before compression."""

    tenant: str
    hour: datetime
    number: int
    own: frozenset[str]
    folder: Path
    part_bytes: int
    level: int


class HourParts:
    """The parts of an hour being written: one of each service in `own`, and one of all others.

    Each is stored and proven to be, and copied into `cache` where there is one.
    """

    def __init__(self, store: Store, spec: PartSpec, cache: PartCache | None = None) -> None:
        self.store = store
        self.spec = spec
        self.cache = cache
        self.stored: list[Part] = []
        self._open: dict[str, PartWriter] = {}
        self._groups: dict[bytes, str] = {}

    def take(self, batch: list[bytes]) -> None:
        """Write lines that sort after all that were written before."""
        streams = list(map(lines.stream, batch))
        groups = {stream: self._group(stream) for stream in set(streams)}
        if len(set(groups.values())) == 1:
            self._add(groups[streams[0]], batch, streams)
            return
        members: dict[str, tuple[list[bytes], list[bytes]]] = {}
        for line, stream in zip(batch, streams, strict=True):
            of_group = members.setdefault(groups[stream], ([], []))
            of_group[0].append(line)
            of_group[1].append(stream)
        for group, (chosen, of_each) in members.items():
            self._add(group, chosen, of_each)

    def finish(self) -> list[Part]:
        """Store what is still open; all parts. Raises ArchiveError, also when the store gives back
        other bytes than it was given."""
        for group in sorted(self._open):
            self._send(group)
        return self.stored

    def close(self) -> None:
        for writer in self._open.values():
            writer.close()

    def _group(self, stream: bytes) -> str:
        if stream not in self._groups:
            service = service_of(stream.decode("utf-8", "replace"))
            self._groups[stream] = service if service in self.spec.own else ""
        return self._groups[stream]

    def _writer(self, group: str) -> PartWriter:
        if group not in self._open:
            threaded = len(self.spec.own) <= MOST_THREADED
            self._open[group] = PartWriter(self.spec.folder, self.spec.level, threaded=threaded)
        return self._open[group]

    def _add(self, group: str, batch: list[bytes], streams: list[bytes]) -> None:
        size = sum(map(len, batch)) + len(batch)
        if size <= MOST_BATCH_BYTES and self._writer(group).size + size < self.spec.part_bytes:
            self._writer(group).extend(batch, size, Counter(streams))
            return
        for line, stream in zip(batch, streams, strict=True):  # a part may end at any of them
            self._writer(group).write(line, stream)
            if self._writer(group).size >= self.spec.part_bytes:
                self._send(group)

    def _send(self, group: str) -> None:
        number = self.spec.number + len(self.stored)
        with closing(self._open.pop(group)) as writer:
            part = writer.finish(self.spec.tenant, self.spec.hour, number)
            self.stored.append(send_part(self.store, part, writer.file, self.cache))


def send_part(store: Store, part: Part, file: IO[bytes], cache: PartCache | None) -> Part:
    """Store a part unless it is there already, prove it, and copy it; the part as stored.

    The proof is to read it back. Without a reader's key it is the hash that the store checked and
    returned; a key that is taken proves nothing, and the part gets the next number.
    """
    failpoint("part-spooled")
    while not store.put(part.key, file, part.compressed_sha256) and not store.can_read:
        part = part.model_copy(update={"key": further_part_key(part.key)})
        file.seek(0)
    failpoint("part-uploaded")
    if store.can_read:
        sha256, size = store.hash(part.key)
        if (sha256, size) != (part.compressed_sha256, part.compressed_bytes):
            raise ArchiveError(
                f"cannot store {part.key}: expected {part.compressed_bytes} bytes with the SHA-256 "
                f"{part.compressed_sha256} when read back, got {size} bytes with {sha256}. "
                "The store corrupts data: do not use it"
            )
    if cache:
        cache.add(part.key, file)
    return part


def read_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a compressed part. Raises ArchiveError when it is damaged or truncated."""
    rest = b""
    for block in decompress(chunks):
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
    if rest:
        raise ArchiveError("the part ends inside a line")


def decompress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The raw bytes of a compressed part. Raises ArchiveError when it is damaged or truncated."""
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    try:
        held: list[bytes] = []
        size = 0
        for chunk in chunks:
            for start in range(0, len(chunk), DECOMPRESS_BYTES):
                held.append(decompressor.decompress(chunk[start : start + DECOMPRESS_BYTES]))
                size += len(held[-1])
                if size >= BLOCK_BYTES:
                    yield b"".join(held)
                    held, size = [], 0
        yield b"".join(held)
    except zstandard.ZstdError as error:
        raise ArchiveError(f"the part cannot be decompressed: {error}") from None
    if not decompressor.eof:
        raise ArchiveError("the part is truncated")


def fetch(source: Source, part: Part, folder: Path) -> Iterator[bytes]:
    """The compressed bytes of a part, from a file, once the hash of all of them is verified.

    Of a part that was overwritten or deleted, an older version that is as the manifest says. Raises
    ArchiveError, which names the part, where there is none.
    """
    with TemporaryFile(dir=folder) as file:
        try:
            digest, error = _spool(source.chunks(part.key), file), None
        except MissingError as missing:
            digest, error = "", missing
        if digest != part.compressed_sha256:
            version = sealed_version(source, part) if isinstance(source, Store) else ""
            if not version:
                raise error or ArchiveError(
                    f"{part.key}: expected the SHA-256 {part.compressed_sha256}, got {digest}: it "
                    "was changed. Run: ./logstack archive verify --deep"
                )
            _spool(source.chunks(part.key, version), file)
        file.seek(0)
        while chunk := file.read(READ_BYTES):
            yield chunk


def _spool(chunks: Iterable[bytes], file: IO[bytes]) -> str:
    """Write chunks to an emptied file; their SHA-256."""
    digest = hashlib.sha256()
    file.seek(0)
    file.truncate()
    for chunk in chunks:
        digest.update(chunk)
        file.write(chunk)
    return digest.hexdigest()


def sealed_version(store: Store, part: Part) -> str:
    """The version of a part that is as its manifest says; empty where the store has none.

    The writer's key can store a newer version over a part, and a delete marker hides all of them.
    """
    sealed = part.compressed_sha256, part.compressed_bytes
    found = (v for v in store.versions_of(part.key) if store.hash(part.key, v) == sealed)
    return next(found, "")


def fetch_lines(source: Source, part: Part, folder: Path) -> Iterator[bytes]:
    """The lines of a part, once its hash is verified."""
    return read_lines(fetch(source, part, folder))
