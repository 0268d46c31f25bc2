"""The typed record of an archived line, whichever engine made it."""

from __future__ import annotations

from collections.abc import Callable

from stack.archive import ArchiveError
from stack.archive.engines import loki as loki_archive
from stack.archive.engines import victorialogs as victorialogs_archive
from stack.engines import Record

READERS: dict[str, Callable[[bytes], Record]] = {
    "loki": loki_archive.record_of_line,
    "victorialogs": victorialogs_archive.record_of_line,
}


def reader_of(engine: str) -> Callable[[bytes], Record]:
    """What reads lines of `engine`. Raises ArchiveError for an engine that nobody knows."""
    try:
        return READERS[engine]
    except KeyError:
        raise ArchiveError(
            f"wanted an hour of one of {', '.join(sorted(READERS))}, found one of {engine!r}"
        ) from None
