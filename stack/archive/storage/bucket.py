"""Sets the bucket up with the admin's key, and proves that the store can be trusted."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from stack.archive import ArchiveError
from stack.archive.format.layout import tenant_prefix
from stack.archive.storage.store import Store, StoreError, UnprovenError
from stack.settings.tables import Archive

PROBE_BYTES = 1024 * 1024
PROBES = "probes/"
NOT_SUPPORTED = (400, 404, 405, 501)
CONDITIONS = "conditional writes (If-None-Match: *)"
CHECKSUMS = "checksums (x-amz-checksum-sha256)"
# What does not work without a feature.
WITHOUT = {
    CONDITIONS: "two exporters could overwrite each other's manifests",
    CHECKSUMS: "no upload could be proven",
    "ListObjectVersions": "no day could be verified, erased or deleted in the engine",
    "Object Lock": "nothing protects objects from deletion (archive.lock = none accepts that)",
    "lifecycle rules": "no part would expire after archive.days",
}
CHECKS_NO_HASHES = (
    "cannot use the store: it accepted an object with a wrong SHA-256, so it does not check hashes"
)
# SeaweedFS puts its users in this account; on AWS the writer's own IAM policy does the same.
LOCAL_WRITER = "arn:aws:iam::000000000000:user/writer"


def prepare(store: Store, settings: Archive) -> None:
    """Create the bucket if missing; set its lock, expiry and rights. Raises ArchiveError."""
    admin, bucket = store.admin, settings.bucket
    if not _exists(store, bucket):
        try:
            store.ask(
                f"create the bucket {bucket}",
                lambda: admin.create_bucket(
                    Bucket=bucket, ObjectLockEnabledForBucket=settings.lock != "none"
                ),
            )
        except StoreError:
            if not _exists(store, bucket):  # another machine created it meanwhile
                raise
    if settings.lock != "none":
        with _needs("Object Lock"):
            store.ask(
                "set the lock of new objects",
                lambda: admin.put_object_lock_configuration(
                    Bucket=bucket, ObjectLockConfiguration=_lock_rule(settings)
                ),
            )
    with _needs("lifecycle rules"):
        store.ask(
            "set the expiry of objects",
            lambda: admin.put_bucket_lifecycle_configuration(
                Bucket=bucket, LifecycleConfiguration=_lifecycle(settings)
            ),
        )
    if not settings.endpoint:
        store.ask(
            "deny the writer to delete",
            lambda: admin.put_bucket_policy(Bucket=bucket, Policy=_writer_policy(bucket)),
        )


def probe(store: Store) -> None:
    """Store an object, read it back, and store two that must be refused.

    Raises ArchiveError for a store that corrupts data, does not check hashes, or overwrites.
    """
    body = secrets.token_bytes(PROBE_BYTES)
    digest = hashlib.sha256(body).hexdigest()
    key = f"{PROBES}{digest[:12]}"
    try:
        stored = store.put(key, body, digest)
    except UnprovenError:
        raise
    except StoreError as error:
        raise ArchiveError(f"{error}{_explain_refusal(store, key, error)}") from None
    if not stored:
        raise ArchiveError(f"cannot use the store: {key} exists before it was first stored")
    if store.can_read and (found := store.hash(key)) != (digest, PROBE_BYTES):
        raise ArchiveError(
            f"cannot use the store, it corrupts data: {key}: expected {PROBE_BYTES} bytes with the "
            f"SHA-256 {digest}, got {found[1]} bytes with {found[0]}"
        )
    other = hashlib.sha256(b"other").hexdigest()
    try:
        store.put(f"{key}-wrong", body, other)
    except UnprovenError:
        raise ArchiveError(CHECKS_NO_HASHES) from None
    except StoreError:
        pass
    else:
        raise ArchiveError(CHECKS_NO_HASHES)
    if store.can_read:
        with _needs("ListObjectVersions"):
            store.versions(PROBES)
    if store.put(key, body, digest):
        raise ArchiveError(
            "cannot use the store: it overwrote an object in spite of If-None-Match: *, so two "
            "exporters could overwrite each other's manifests"
        )


def _explain_refusal(store: Store, key: str, error: StoreError) -> str:
    """What a store lacks that refuses the probe: nothing where it refuses every object."""
    if error.status not in NOT_SUPPORTED:
        return ""
    where: Any = {"Bucket": store.access.bucket, "Key": f"{key}-plain", "Body": b"probe"}
    checksum = base64.b64encode(hashlib.sha256(b"probe").digest()).decode()
    features: dict[str, dict[str, Any]] = {
        CONDITIONS: {"ChecksumSHA256": checksum},
        CHECKSUMS: {"IfNoneMatch": "*"},
    }
    for name, options in features.items():
        with suppress(StoreError):
            store.ask("probe", partial(store.writer.put_object, **where, **options))
            return _lacking(name)
    return ""


@contextmanager
def _needs(feature: str) -> Iterator[None]:
    """Raises ArchiveError, with what does not work then, where the store lacks a feature."""
    try:
        yield
    except StoreError as error:
        if error.status in NOT_SUPPORTED:
            raise ArchiveError(f"{error}{_lacking(feature)}") from None
        raise


def _lacking(feature: str) -> str:
    return f". It supports no {feature}, without which {WITHOUT[feature]}: docs/archive.md, Stores"


def lock_of(store: Store, bucket: str) -> tuple[str, int]:
    """The mode and days of the bucket's lock of new objects; ("none", 0) without a lock."""
    answer = store.ask_optional(
        "read the lock of new objects",
        lambda: store.admin.get_object_lock_configuration(Bucket=bucket),
    )
    rule = answer.get("ObjectLockConfiguration", {}).get("Rule", {})
    retention = rule.get("DefaultRetention", {})
    return str(retention.get("Mode", "none")).lower(), int(retention.get("Days", 0))


def expiry_of(store: Store, settings: Archive) -> int:
    """After how many days the bucket deletes parts; 0 without a rule for them."""
    answer = store.ask_optional(
        "read the expiry of objects",
        lambda: store.admin.get_bucket_lifecycle_configuration(Bucket=settings.bucket),
    )
    for rule in answer.get("Rules", []):
        prefix = rule.get("Filter", {}).get("Prefix", rule.get("Prefix", ""))
        if rule["Status"] == "Enabled" and prefix == parts_prefix(settings):
            return int(rule.get("Expiration", {}).get("Days", 0))
    return 0


def foreign_rules(store: Store, settings: Archive) -> list[str]:
    """What the bucket's rules do that is not of the archive: expire more, or let web pages read."""
    lifecycle = store.ask_optional(
        "read the expiry of objects",
        lambda: store.admin.get_bucket_lifecycle_configuration(Bucket=settings.bucket),
    )
    cors = store.ask_optional(
        "read the origins that may use the bucket",
        lambda: store.admin.get_bucket_cors(Bucket=settings.bucket),
    )
    found = []
    for rule in lifecycle.get("Rules", []):
        prefix = rule.get("Filter", {}).get("Prefix", rule.get("Prefix", ""))
        own = tenant_prefix(settings.tenant)
        concerns = prefix.startswith(own) or own.startswith(prefix)
        if rule["Status"] == "Enabled" and concerns and prefix != parts_prefix(settings):
            found.append(f"the lifecycle rule {rule.get('ID', '')!r} for the prefix {prefix!r}")
    for rule in cors.get("CORSRules", []):
        found.append(f"CORS for {', '.join(rule.get('AllowedOrigins', []))}")
    return found


def remove_foreign_rules(store: Store, settings: Archive) -> None:
    """Set the bucket's expiry again and delete its CORS rules; needs the admin's key."""
    prepare(store, settings)
    store.ask(
        "delete the origins that may use the bucket",
        lambda: store.admin.delete_bucket_cors(Bucket=settings.bucket),
    )


def parts_prefix(settings: Archive) -> str:
    """The prefix of the keys of all parts, and of no manifest."""
    return f"{tenant_prefix(settings.tenant)}dt="


def _exists(store: Store, bucket: str) -> bool:
    names = store.ask("list the buckets", lambda: store.admin.list_buckets()["Buckets"])
    return bucket in {item["Name"] for item in names}


def _lock_rule(settings: Archive) -> Any:
    retention = {"Mode": settings.lock.upper(), "Days": settings.days}
    return {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}}


def _lifecycle(settings: Archive) -> Any:
    """Parts become old versions after archive.days and are deleted a day later; manifests stay."""
    rule = {
        "ID": f"after-{settings.days}-days",
        "Status": "Enabled",
        "Filter": {"Prefix": parts_prefix(settings)},
        "Expiration": {"Days": settings.days},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    }
    return {"Rules": [rule]}


def _writer_policy(bucket: str) -> str:
    statement = {
        "Effect": "Deny",
        "Principal": {"AWS": [LOCAL_WRITER]},
        "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
