"""The one-year archive: hours of records as compressed NDJSON, with signed manifests.

    layout.py       keys and hours            store.py     object storage (S3)
    lines.py        one record as a line      manifest.py  what an hour's parts contain, signed
    ordering.py     sorting, differences      ledger.py    the chain of manifests
    parts.py        writing and reading parts
    export.py  verify.py  search.py  restore.py  erase.py  expire.py    what the commands do

`logstack archive` calls it. docs/archive.md says how to read the archive without it.
"""

from __future__ import annotations


class ArchiveError(Exception):
    """The archive could not do what it was asked; the text says why and what to do."""
