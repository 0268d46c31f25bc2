"""Reads a log file of another encoding as UTF-8."""

from __future__ import annotations

import codecs
import io
from typing import Protocol

from stack.settings.tables import FileSource

CHUNK = 1 << 16


class Readable(Protocol):
    """What is needed of a file."""

    def read(self, size: int, /) -> bytes: ...

    def readline(self) -> bytes: ...


class _Recoded(io.RawIOBase):
    def __init__(self, file: Readable, encoding: str):
        self._file, self._ready = file, b""
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            piece = self._file.read(CHUNK)
            self._ready = self._decoder.decode(piece, final=not piece).encode()
            if not piece:
                break
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size


def open_as_utf8(file: Readable, source: FileSource) -> Readable:
    """The file's text in UTF-8. Bytes that its encoding does not have become U+FFFD."""
    if source.encoding == "utf-8":  # the agent replaces such bytes, and says so in the record
        return file
    return io.BufferedReader(_Recoded(file, source.encoding))


def read_as_utf8(source: FileSource) -> FileSource:
    """The source of a copy that is UTF-8."""
    return source.model_copy(update={"encoding": "utf-8"})
