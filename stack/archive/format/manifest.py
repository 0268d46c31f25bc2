"""What an hour's parts contain: a signed JSON document, chained to the one before. Pure.

A manifest is never changed. What is added to an hour later, or erased from it, is a further
manifest of that hour; an hour is what all of its manifests say in their order (ledger.py).
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, ValidationError

from stack.archive import ArchiveError

SCHEMA = 1


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Model):
    """One object. `streams` counts records by labels as JSON; hashes are SHA-256 in hexadecimal.

    `ids` is a filter of its request and trace ids (id_filter.py); empty where there is none.
    """

    key: str
    services: tuple[str, ...]
    records: int
    streams: dict[str, int]
    raw_bytes: int
    raw_sha256: str
    compressed_bytes: int
    compressed_sha256: str
    first_ns: str
    last_ns: str
    ids: str = ""


class Erasure(_Model):
    """A tombstone: which records are gone, why, and how many of each stream.

    `match_hmac` is the HMAC-SHA256 of the erased field's value, so that the tombstone does not keep
    what was to be erased; with the archive's key it keeps such records out for good.
    """

    field: str
    match_hmac: str
    reason: str
    streams: dict[str, int]
    replaced: tuple[Part, ...]


class Manifest(_Model):
    """`parts` are those that this manifest adds; counts are of the hour as a whole after it.

    `engine_streams` is what the engine counted in [start, until), `archived_streams` what the
    hour's parts hold together, `suppressed_streams` what tombstones kept out of them. An hour is
    complete when `until` is its end.
    """

    schema_version: int = SCHEMA
    tenant: str
    sequence: int
    previous_sha256: str
    kind: Literal["hour", "erasure"]
    start: datetime
    until: datetime
    complete: bool
    late: bool = False
    engine: str
    engine_version: str
    exporter_version: str
    query: str
    created: datetime
    engine_records: int
    archived_records: int
    engine_streams: dict[str, int]
    archived_streams: dict[str, int]
    suppressed_streams: dict[str, int] = {}
    parts: tuple[Part, ...]
    erasure: Erasure | None = None


def signed(manifest: Manifest, key: Ed25519PrivateKey) -> bytes:
    """The document as it is stored: canonical JSON with the signature over the rest of it."""
    values = manifest.model_dump(mode="json")
    signature = base64.b64encode(key.sign(canonical(values))).decode()
    return canonical({**values, "signature": signature}) + b"\n"


def parse(document: bytes, key: Ed25519PublicKey) -> Manifest:
    """The manifest of a stored document. Raises ArchiveError when it is not as it was signed."""
    try:
        values = json.loads(document)
        signature = base64.b64decode(values.pop("signature"))
        key.verify(signature, canonical(values))
        return Manifest.model_validate(values)
    except InvalidSignature:
        raise ArchiveError(
            "the signature does not fit: it was rewritten, or LOGSTACK_ARCHIVE_SIGNING_KEY is not "
            "the key that it was signed with"
        ) from None
    except (ValueError, KeyError, AttributeError, TypeError, ValidationError) as error:
        raise ArchiveError(f"no manifest: {str(error).splitlines()[0]}") from None


def canonical(values: object) -> bytes:
    """JSON with sorted names and no spaces, as `jq -cS` prints it."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogateescape")


def sha256(document: bytes) -> str:
    return hashlib.sha256(document).hexdigest()


def add(*counts: dict[str, int]) -> dict[str, int]:
    """The sums by stream; streams without records are left out."""
    total: dict[str, int] = {}
    for each in counts:
        for stream, count in each.items():
            total[stream] = total.get(stream, 0) + count
    return {stream: count for stream, count in sorted(total.items()) if count}


def largest(*counts: dict[str, int]) -> dict[str, int]:
    """The largest count of each stream."""
    streams = sorted({stream for each in counts for stream in each})
    return {stream: max(each.get(stream, 0) for each in counts) for stream in streams}


def subtract(counts: dict[str, int], less: dict[str, int]) -> dict[str, int]:
    return add(counts, {stream: -count for stream, count in less.items()})
