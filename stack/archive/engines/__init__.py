"""One adapter for each engine: how the archive reads it, restores into it and deletes days."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from stack.archive import ArchiveError
from stack.archive.engines import loki, victorialogs
from stack.archive.engines.protocol import Archivable
from stack.engines import Record

# By the engine's name: makes an adapter of its address, tenant and data folder, where known.
ADAPTERS: Mapping[str, Callable[[str, str, Path | None], Archivable]] = {
    "loki": loki.LokiArchive,
    "victorialogs": lambda url, tenant, storage: victorialogs.VictoriaLogsArchive(url, storage),
}
READERS: Mapping[str, Callable[[bytes], Record]] = {
    "loki": loki.record_of_line,
    "victorialogs": victorialogs.record_of_line,
}


def reader_of(engine: str) -> Callable[[bytes], Record]:
    """The reader of archived lines of `engine`. Raises ArchiveError for an unknown engine."""
    try:
        return READERS[engine]
    except KeyError:
        raise ArchiveError(
            f"manifest: expected an hour of {' or '.join(sorted(READERS))}, got one of {engine!r}"
        ) from None
