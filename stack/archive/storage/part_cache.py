"""Copies of parts on this machine, for an exporter that can store parts but not read them.

Late records of an hour are what the engine has and the hour's parts lack. Without a reader's key
the export compares with these copies, which are kept as long as records may be late.
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


class NotCachedError(ArchiveError):
    """Late records cannot be compared with archived ones, because a part's copy is missing."""


class PartCache:
    """The copies in `folder`, `limit` bytes at most."""

    def __init__(self, folder: Path, limit: int):
        self.folder = folder
        self.limit = limit

    def add(self, key: str, file: IO[bytes]) -> None:
        """Copy a part from its start; atomic, also when the process is killed."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch = self.folder / ".new"
        file.seek(0)
        with scratch.open("wb") as copy:
            shutil.copyfileobj(file, copy, CHUNK)
        scratch.rename(self.folder / _name(key))

    def chunks(self, key: str, version: str = "") -> Iterator[bytes]:
        """A copy in chunks; each part has one. Raises NotCachedError, also for a damaged one."""
        try:
            file = (self.folder / _name(key)).open("rb")
        except FileNotFoundError:
            raise _not_cached(key, f"has no copy in {self.folder}") from None
        with file:
            if hashlib.file_digest(file, "sha256").hexdigest()[:12] not in key:
                raise _not_cached(key, f"has a damaged copy in {self.folder}")
            file.seek(0)
            while chunk := file.read(CHUNK):
                yield chunk

    def tidy(self, known: Iterable[str], since: datetime) -> None:
        """Remove copies of parts that are not `known` (replaced by an erasure), of hours before
        `since`, and the oldest ones beyond the limit."""
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
    """A part's key as a file name that sorts by time: `dt=2026-01-31 hr=10 part-0-...`."""
    return key[key.index("dt=") :].replace("/", " ")


def _not_cached(key: str, problem: str) -> NotCachedError:
    return NotCachedError(
        f"cannot archive late records: {key} {problem} to compare with. The engine still has the "
        f"records. Run: {WITH_READER}"
    )
