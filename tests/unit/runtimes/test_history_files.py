"""What is copied of a log file to be imported."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import zstandard

from stack.runtimes.history import HistoryError
from stack.runtimes.history.files import Copied, copy_plain
from stack.settings.tables import FileSource

TEXT = b"".join(b"line %d\n" % number for number in range(300_000))


def source_at(path: Path, encoding: str = "utf-8") -> FileSource:
    values = {"service": "shop", "path": str(path), "encoding": encoding}
    return FileSource.model_validate(values)


def copy(
    path: Path, known: set[tuple[int, str]] | None = None, encoding: str = "utf-8"
) -> tuple[Copied, bytes]:
    target, source = path.with_name("copy"), source_at(path, encoding)
    return copy_plain(source, target, known or set(), 0, lambda size: None), target.read_bytes()


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress],
    ids=["plain", "gz", "bz2", "xz", "zst"],
)
def test_a_file_is_unpacked_whatever_its_name(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    """Also one of several parts, as rotation with appending makes it."""
    path = tmp_path / "app.log"
    path.write_bytes(compress(TEXT) + compress(b"end"))
    copied, text = copy(path)
    assert text == TEXT + b"end\n"
    digest = hashlib.sha256(TEXT + b"end").hexdigest()
    assert copied == Copied(0, len(TEXT) + 3, digest, 300_001)


def test_of_a_file_that_has_grown_only_the_rest_is_copied(tmp_path: Path) -> None:
    """Another file of the same size does not count, nor does a longer one."""
    path = tmp_path / "app.log"
    path.write_bytes(TEXT + b"new\n")
    known = {
        (len(TEXT), hashlib.sha256(TEXT).hexdigest()),
        (len(TEXT), hashlib.sha256(b"other").hexdigest()),
        (10, hashlib.sha256(TEXT[:10]).hexdigest()),
        (len(TEXT) + 100, "x"),
    }
    copied, text = copy(path, known)
    assert text == b"new\n"
    assert (copied.known, copied.lines) == (len(TEXT), 1)


def test_a_file_that_was_imported_is_known_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "app.log.2.gz"
    path.write_bytes(gzip.compress(TEXT))
    copied, text = copy(path, {(len(TEXT), hashlib.sha256(TEXT).hexdigest())})
    assert (copied.known, text) == (copied.size, b"")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_file_that_is_cut_off_is_named(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "cut.log.gz"
    path.write_bytes(compress(TEXT)[:-100])
    with pytest.raises(HistoryError, match=r"cut\.log\.gz"):
        copy(path)


def test_an_archive_of_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "logs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("app.log", TEXT[:100])
    with pytest.raises(HistoryError, match=r"expected text, or \.gz.*got zip"):
        copy(path)


def test_a_full_disk_stops_the_copy(tmp_path: Path) -> None:
    """The engine needs free disk space."""
    path = tmp_path / "app.log"
    path.write_bytes(TEXT)
    with pytest.raises(HistoryError, match=r"limits\.free_disk"):
        copy_plain(source_at(path), tmp_path / "copy", set(), 2**60, lambda size: None)


@pytest.mark.parametrize("encoding", get_args(FileSource.model_fields["encoding"].annotation))
def test_a_file_of_another_encoding_is_copied_as_utf8(tmp_path: Path, encoding: str) -> None:
    """Also across the places where it is read in parts, and only what is new of one that grew."""
    text = "grüße, 50 £\n" * 30_000
    path = tmp_path / "shop.log"
    path.write_bytes(text.encode(encoding))
    copied, written = copy(path, encoding=encoding)
    assert written.decode() == text
    with path.open("ab") as file:
        file.write("später\n".encode(encoding))
    rest, written = copy(path, {(copied.size, copied.sha256)}, encoding)
    assert (written.decode(), rest.lines) == ("später\n", 1)
