"""Copies a log file without its compression, and knows what of it was imported before."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import shutil
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import zstandard

from stack.runtimes.encodings import Readable, open_as_utf8
from stack.runtimes.history import HistoryError
from stack.settings.tables import FileSource

CHUNK = 1 << 20
OnBytes = Callable[[int], None]
"""Called with the number of bytes copied so far."""


def _open_zstd(file: BinaryIO) -> Readable:
    reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    return io.BufferedReader(reader, CHUNK)


# By the first bytes of a file, whatever its name.
OPENERS: Mapping[bytes, Callable[[BinaryIO], Readable]] = {
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"BZh": bz2.open,
    b"\x28\xb5\x2f\xfd": _open_zstd,
}
UNKNOWN = {b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7z", b"\x04\x22\x4d\x18": "lz4"}


@dataclass(frozen=True)
class Copied:
    """A copy. `known` bytes at the beginning were imported before and are not in it.

    `sha256` is that of all `size` bytes, `lines` are those of the copy.
    """

    known: int
    size: int
    sha256: str
    lines: int


def copy_plain(
    source: FileSource, copy: Path, known: Set[tuple[int, str]], free: int, on_bytes: OnBytes
) -> Copied:
    """Copy a file as UTF-8.

    `known`: sizes and hashes of what was imported, `free`: bytes to leave on disk. Raises
    HistoryError.
    """
    path = Path(source.path)
    digest, size, start, lines = hashlib.sha256(), 0, 0, 0
    last = b"\n"
    sizes = {size for size, _ in known}
    with _open(path) as file, copy.open("wb") as written:
        for piece in _pieces(open_as_utf8(file, source), path, sorted(sizes)):
            if size % (64 * CHUNK) < len(piece):
                _check_space(copy.parent, free, path)
            digest.update(piece)
            written.write(piece)
            size += len(piece)
            lines += piece.count(b"\n")
            last = piece[-1:]
            if size in sizes and (size, digest.hexdigest()) in known:
                written.seek(0)
                written.truncate()
                start, lines, last = size, 0, b"\n"
            on_bytes(size)
        if last != b"\n":
            written.write(b"\n")
            lines += 1
    return Copied(start, size, digest.hexdigest(), lines)


@contextmanager
def _open(path: Path) -> Iterator[Readable]:
    """The file without its compression. Raises HistoryError for one that is not text."""
    with path.open("rb") as raw:
        head = raw.read(8)
        raw.seek(0)
        for magic, name in UNKNOWN.items():
            if head.startswith(magic):
                raise HistoryError(
                    f"cannot read {path}: expected text, or .gz, .xz, .bz2 or .zst, got {name}. "
                    "Unpack it and import what is in it"
                )
        opener = next((use for magic, use in OPENERS.items() if head.startswith(magic)), None)
        yield opener(raw) if opener else raw


def _pieces(file: Readable, path: Path, stops: list[int]) -> Iterator[bytes]:
    """The file's bytes; a piece ends at each of `stops`. Raises HistoryError."""
    position = 0
    while True:
        ahead = next((stop - position for stop in stops if stop > position), CHUNK)
        try:
            piece = file.read(min(CHUNK, ahead))
        except (EOFError, OSError, lzma.LZMAError, zstandard.ZstdError) as error:
            raise HistoryError(
                f"cannot read {path}: {error or 'it ends in the middle'}. Is it complete?"
            ) from None
        if not piece:
            return
        position += len(piece)
        yield piece


def _check_space(folder: Path, free: int, path: Path) -> None:
    left = shutil.disk_usage(folder).free
    if left < free:
        raise HistoryError(
            f"cannot copy {path} to {folder}: expected {free // 2**20} MiB of free disk space to "
            f"stay (limits.free_disk), got {left // 2**20} MiB. Free some, or import parts of it"
        )
