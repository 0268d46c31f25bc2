"""Copies of parts on this machine, for an exporter that may store parts and not read them.

What came late to an hour is what the engine has beyond the hour's parts. Who cannot read those
compares with these copies. They are there as long as records may be late, and no longer.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

from stack.archive import ArchiveError
from stack.archive.storage.store import WITH_READER

CHUNK = 1024 * 1024


class NoCopyError(ArchiveError):
    """What came late to an hour cannot be told from what is archived."""


class Copies:
    """The copies in `folder`, `limit` bytes at most."""

    def __init__(self, folder: Path, limit: int):
        self.folder = folder
        self.limit = limit

    def keep(self, key: str, file: IO[bytes]) -> None:
        """Copy a part from its start; whole or not at all, whenever the process ends."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch = self.folder / ".new"
        file.seek(0)
        with scratch.open("wb") as copy:
            shutil.copyfileobj(file, copy, CHUNK)
        scratch.rename(self.folder / _name(key))

    def chunks(self, key: str) -> Iterator[bytes]:
        """A copy piece by piece. Raises NoCopyError, also for one that is damaged."""
        try:
            file = (self.folder / _name(key)).open("rb")
        except FileNotFoundError:
            raise _no_copy(key, f"found none in {self.folder}") from None
        with file:
            if hashlib.file_digest(file, "sha256").hexdigest()[:12] not in key:
                raise _no_copy(key, f"found a damaged one in {self.folder}")
            file.seek(0)
            while chunk := file.read(CHUNK):
                yield chunk

    def tidy(self, known: Iterable[str], since: datetime) -> None:
        """Remove the copies of parts that are not `known`, which an erasure has replaced, of hours
        before `since`, and the oldest ones beyond the limit."""
        if not self.folder.is_dir():
            return
        names = {_name(key) for key in known}
        first = f"dt={since:%Y-%m-%d} hr={since:%H}"
        paths = sorted(self.folder.iterdir())
        size = sum(path.stat().st_size for path in paths)
        for path in paths:
            if path.name not in names or path.name < first or size > self.limit:
                size -= path.stat().st_size
                path.unlink()


def _name(key: str) -> str:
    """A part's key as a file's name, such as `dt=2026-01-31 hr=10 part-0-...`: in order of time."""
    return key[key.index("dt=") :].replace("/", " ")


def _no_copy(key: str, found: str) -> NoCopyError:
    return NoCopyError(
        f"records came late; to tell them from those of {key} a copy of it was wanted, {found}. "
        f"The engine has them, nothing is lost. Read the part with the reader's key: {WITH_READER}"
    )
