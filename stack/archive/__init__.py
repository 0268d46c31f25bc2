"""The one-year archive: hours of records as compressed NDJSON, with signed manifests.

    format/     keys, lines, manifests, sorting          pure
    storage/    object storage (S3), parts, the chain of manifests
    engines/    one adapter for each engine
    export, verify, search, restore, erase, expire       one module for each command

`logstack archive` calls it. docs/archive.md describes how to read the archive without it.
"""

from __future__ import annotations


class ArchiveError(Exception):
    """An archive command failed; the text says why and what to do."""
