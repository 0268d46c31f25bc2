"""Writes lines into compressed parts and reads parts back, piece by piece."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
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
from stack.archive.storage.store import Store

# Services with parts of their own at once: each has a compressor with buffers of its own.
MOST_OWN_PARTS = 16
MOST_BESIDE = 1  # so many of them are compressed in threads of their own
WRITE_BYTES = 256 * 1024
MOST_AT_ONCE = 4 * WRITE_BYTES  # of lines that are taken over together
READ_BYTES = 64 * 1024
# Decompressed at once: repetitive lines can become a thousand times as large.
DECOMPRESS_BYTES = 4 * 1024


Keep = Callable[[str, IO[bytes]], None]
"""Called with a part's key and its file once the part is stored (copies.py)."""


class Source(Protocol):
    """Where the bytes of parts come from: the store, or copies of what was stored there."""

    def chunks(self, key: str) -> Iterator[bytes]:
        """An object piece by piece. Raises ArchiveError."""


class PartWriter:
    """One part under way: compressed into a nameless file, hashed and counted on the way."""

    def __init__(self, folder: Path, level: int, *, beside: bool = False):
        """`beside`: compress in a thread of its own, for some 20 MB more."""
        self.file: IO[bytes] = TemporaryFile(dir=folder)  # noqa: SIM115 -- closed by `close`
        compressor = zstandard.ZstdCompressor(
            level=level, write_checksum=True, threads=1 if beside else 0
        )
        self._sink = compressor.stream_writer(self.file, closefd=False)
        self._raw = hashlib.sha256()
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._rest = b""
        self.raw_bytes = 0
        self.streams: dict[bytes, int] = {}
        self.ids: set[bytes] = set()
        self.first = b""
        self.last = b""

    def write(self, line: bytes, stream: bytes) -> None:
        """Add a line; `stream` is what `lines.stream` says of it."""
        self.first = self.first or line
        self.last = line
        self.streams[stream] = self.streams.get(stream, 0) + 1
        self._held.append(line)
        self._held_bytes += len(line) + 1
        if self._held_bytes >= WRITE_BYTES:
            self._flush()

    def extend(self, batch: list[bytes], size: int, streams: Mapping[bytes, int]) -> None:
        """Add lines of `size` bytes, line breaks included, with the counts of their streams."""
        self.first = self.first or batch[0]
        self.last = batch[-1]
        for stream, count in streams.items():
            self.streams[stream] = self.streams.get(stream, 0) + count
        self._held += batch
        self._held_bytes += size
        if self._held_bytes >= WRITE_BYTES:
            self._flush()

    @property
    def size(self) -> int:
        return self.raw_bytes + self._held_bytes

    def finish(self, tenant: str, hour: datetime, number: int) -> Part:
        """End the compressed stream and describe the part; its file is then ready to be sent."""
        self._flush()
        self._sink.write(self._rest)
        self._sink.close()  # type: ignore[no-untyped-call]
        self.file.seek(0)
        compressed, size = hashlib.sha256(), 0
        while chunk := self.file.read(1024 * 1024):
            compressed.update(chunk)
            size += len(chunk)
        self.file.seek(0)
        streams = {
            stream.decode("utf-8", "replace"): count for stream, count in self.streams.items()
        }
        return Part(
            key=part_key(tenant, hour, number, compressed.hexdigest()),
            services=tuple(sorted({service_of(stream) for stream in streams})),
            records=sum(streams.values()),
            streams=dict(sorted(streams.items())),
            raw_bytes=self.raw_bytes,
            raw_sha256=self._raw.hexdigest(),
            compressed_bytes=size,
            compressed_sha256=compressed.hexdigest(),
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
        # Always cut at the same places: equal lines are to make equal bytes, however they came.
        data = self._rest + data
        whole = len(data) - len(data) % WRITE_BYTES
        for start in range(0, whole, WRITE_BYTES):
            self._sink.write(data[start : start + WRITE_BYTES])
        self._rest = data[whole:]


def service_of(stream: str) -> str:
    """The service_name among labels as JSON; empty where there is none."""
    return str(json.loads(stream).get("service_name", ""))


def own_parts(streams: Mapping[str, int], threshold: int) -> frozenset[str]:
    """The services that have parts of their own; those with fewer records share one."""
    totals: dict[str, int] = {}
    for stream, count in streams.items():
        service = service_of(stream)
        totals[service] = totals.get(service, 0) + count
    large = [service for service, count in totals.items() if count >= threshold]
    return frozenset(sorted(large, key=lambda service: -totals[service])[:MOST_OWN_PARTS])


class HourParts:
    """The parts of an hour under way: one of each service in `own`, and one of all others."""

    def __init__(
        self,
        store: Store,
        *,
        own: frozenset[str],
        place: tuple[str, datetime, int],
        folder: Path,
        part_bytes: int,
        level: int,
        keep: Keep | None,
    ) -> None:
        self.store = store
        self.own = own
        self.place = place
        self.folder = folder
        self.part_bytes = part_bytes
        self.level = level
        self.keep = keep
        self.stored: list[Part] = []
        self._open: dict[str, PartWriter] = {}
        self._groups: dict[bytes, str] = {}

    def take(self, batch: list[bytes]) -> None:
        """Write lines that come after those taken before."""
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
        """Store what is under way; all parts. Raises ArchiveError."""
        for group in sorted(self._open):
            self._send(group)
        return self.stored

    def close(self) -> None:
        for writer in self._open.values():
            writer.close()

    def _group(self, stream: bytes) -> str:
        if stream not in self._groups:
            service = service_of(stream.decode("utf-8", "replace"))
            self._groups[stream] = service if service in self.own else ""
        return self._groups[stream]

    def _writer(self, group: str) -> PartWriter:
        if group not in self._open:
            beside = len(self.own) <= MOST_BESIDE
            self._open[group] = PartWriter(self.folder, self.level, beside=beside)
        return self._open[group]

    def _add(self, group: str, batch: list[bytes], streams: list[bytes]) -> None:
        size = sum(map(len, batch)) + len(batch)
        if size <= MOST_AT_ONCE and self._writer(group).size + size < self.part_bytes:
            self._writer(group).extend(batch, size, Counter(streams))
            return
        for line, stream in zip(batch, streams, strict=True):  # a part may end at any of them
            self._writer(group).write(line, stream)
            if self._writer(group).size >= self.part_bytes:
                self._send(group)

    def _send(self, group: str) -> None:
        tenant, hour, number = self.place
        writer = self._open.pop(group)
        try:
            part = writer.finish(tenant, hour, number + len(self.stored))
            part = send_part(self.store, part, writer.file)
            if self.keep:
                self.keep(part.key, writer.file)
        finally:
            writer.close()
        self.stored.append(part)


def store_parts(
    store: Store,
    batches: Iterable[list[bytes]],
    *,
    own: frozenset[str],
    place: tuple[str, datetime, int],
    folder: Path,
    part_bytes: int,
    level: int,
    keep: Keep | None = None,
) -> list[Part]:
    """Write lines, in order, into parts, store and prove them. `place`: tenant, hour, first number.

    Raises ArchiveError, also when the store gives back other bytes than it was given.
    """
    parts = HourParts(
        store,
        own=own,
        place=place,
        folder=folder,
        part_bytes=part_bytes,
        level=level,
        keep=keep,
    )
    with closing(parts):
        for batch in batches:
            parts.take(batch)
        return parts.finish()


def send_part(store: Store, part: Part, file: IO[bytes]) -> Part:
    """Store a part unless it is there already, and prove that it is there; the part as stored.

    What can be read is read back. Without a reader's key the proof is the hash that the store
    checked and returned; a key that is taken proves nothing, and the part gets the next number.
    """
    failpoint("part-spooled")
    while not store.put(part.key, file, part.compressed_sha256) and not store.can_read:
        part = part.model_copy(update={"key": further_part_key(part.key)})
        file.seek(0)
    failpoint("part-uploaded")
    if not store.can_read:
        return part
    found, size = store.hash(part.key)
    if (found, size) != (part.compressed_sha256, part.compressed_bytes):
        raise ArchiveError(
            f"{part.key}: wanted {part.compressed_bytes} bytes with the SHA-256 "
            f"{part.compressed_sha256}, read back {size} bytes with {found}. "
            "The store corrupts what it is given: do not use it"
        )
    return part


def read_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a compressed part. Raises ArchiveError when it is damaged or cut off."""
    rest = b""
    for block in decompress(chunks):
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
    if rest:
        raise ArchiveError("the part ends inside a line")


def decompress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The raw bytes of a compressed part. Raises ArchiveError when it is damaged or cut off."""
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    try:
        held: list[bytes] = []
        size = 0
        for chunk in chunks:
            for start in range(0, len(chunk), DECOMPRESS_BYTES):
                held.append(decompressor.decompress(chunk[start : start + DECOMPRESS_BYTES]))
                size += len(held[-1])
                if size >= WRITE_BYTES:
                    yield b"".join(held)
                    held, size = [], 0
        yield b"".join(held)
    except zstandard.ZstdError as error:
        raise ArchiveError(f"the part cannot be decompressed: {error}") from None
    if not decompressor.eof:
        raise ArchiveError("the part is cut off")


def fetch(source: Source, part: Part, folder: Path) -> Iterator[bytes]:
    """The compressed bytes of a part, given out only when all of them are as the manifest says.

    Raises ArchiveError, which names the part, when they are not.
    """
    digest = hashlib.sha256()
    with TemporaryFile(dir=folder) as file:
        for chunk in source.chunks(part.key):
            digest.update(chunk)
            file.write(chunk)
        if digest.hexdigest() != part.compressed_sha256:
            raise ArchiveError(
                f"{part.key}: wanted the SHA-256 {part.compressed_sha256}, found "
                f"{digest.hexdigest()}: it was changed. Type: ./logstack archive verify --deep"
            )
        file.seek(0)
        while chunk := file.read(READ_BYTES):
            yield chunk


def fetch_lines(source: Source, part: Part, folder: Path) -> Iterator[bytes]:
    """The lines of a part whose hash was found right first."""
    return read_lines(fetch(source, part, folder))
