"""Describes an hour's parts: a signed JSON document, chained to the previous one. Pure.

A manifest is never changed. What is added to an hour later, or erased from it, is a further
manifest of that hour; the state of an hour is all of its manifests in order (ledger.py).
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
Counts = dict[str, int]
"""Records by stream: labels as JSON (lines.stream_key)."""


class SignatureError(ArchiveError):
    """It has the form of a manifest, and another key signed it, or it was changed since."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Model):
    """One object of the store. `streams` counts its records; hashes are SHA-256 in hexadecimal.

    `ids` is a filter of its request and trace ids (id_filter.py), or empty.
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

    def overlaps(self, first: int, last: int) -> bool:
        """Whether it may hold records of [first, last), in nanoseconds."""
        return int(self.first_ns) < last and int(self.last_ns) >= first


class Match(_Model):
    """A field, and the HMAC-SHA256 of its value."""

    field: str
    match_hmac: str


class Erasure(_Model):
    """A tombstone: which records were erased, why, and how many of each stream.

    `match_hmac` is the HMAC-SHA256 of the erased field's value, so that the tombstone does not hold
    the value itself; with the archive's key it excludes such records. `future`: also those of after
    the erasure. `also`: records that have one of these were erased with them.
    """

    field: str
    match_hmac: str
    reason: str
    streams: dict[str, int]
    replaced: tuple[Part, ...]
    future: bool = False
    also: tuple[Match, ...] = ()

    @property
    def matches(self) -> tuple[Match, ...]:
        return (Match(field=self.field, match_hmac=self.match_hmac), *self.also)


class Manifest(_Model):
    """`parts` are those that this manifest adds; counts are of the hour as a whole after it.

    `engine_streams` is what the engine counted in [start, until), `archived_streams` what the
    hour's parts hold together, `suppressed_streams` what tombstones excluded. An hour is complete
    when `until` is its end.
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
    """The stored document: canonical JSON with a signature over everything else in it."""
    values = manifest.model_dump(mode="json")
    signature = base64.b64encode(key.sign(canonical(values))).decode()
    return canonical({**values, "signature": signature}) + b"\n"


def parse(document: bytes, key: Ed25519PublicKey | None) -> Manifest:
    """The manifest of a stored document. Raises ArchiveError when the signature is not valid.

    Without `key` the signature is not checked: a signed manifest names this one's hash.
    """
    try:
        values = json.loads(document)
        signature = base64.b64decode(values.pop("signature"))
        if key is not None:
            key.verify(signature, canonical(values))
        return Manifest.model_validate(values)
    except InvalidSignature:
        raise SignatureError(
            "the signature is not valid: the manifest was rewritten, or "
            "LOGSTACK_ARCHIVE_SIGNING_KEY is not the key that it was signed with"
        ) from None
    except (ValueError, KeyError, AttributeError, TypeError, ValidationError) as error:
        raise ArchiveError(f"not a manifest: {str(error).splitlines()[0]}") from None


def canonical(values: object) -> bytes:
    """JSON with sorted names and no spaces, as `jq -cS` prints it."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogateescape")


def sha256(document: bytes) -> str:
    return hashlib.sha256(document).hexdigest()


def add(*counts: Counts) -> Counts:
    """The sum of each stream, without zeros."""
    total: Counts = {}
    for each in counts:
        for stream, count in each.items():
            total[stream] = total.get(stream, 0) + count
    return {stream: count for stream, count in sorted(total.items()) if count}


def max_by_stream(*counts: Counts) -> Counts:
    """The largest count of each stream."""
    streams = sorted({stream for each in counts for stream in each})
    return {stream: max(each.get(stream, 0) for each in counts) for stream in streams}


def subtract(counts: Counts, less: Counts) -> Counts:
    return add(counts, {stream: -count for stream, count in less.items()})
