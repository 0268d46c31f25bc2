"""Object storage behind a few calls: what the archive needs of S3.

Three keys with separate rights: the writer stores objects and can neither read nor delete them, the
reader reads and lists, the admin sets the bucket up and erases.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
)
from botocore.utils import parse_timestamp

from stack.archive import ArchiveError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

T = TypeVar("T")
CHUNK = 1024 * 1024
READ_SECONDS = 60  # the longest pause in the middle of an answer
# The command to run where the reader's key is needed.
WITH_READER = "LOGSTACK_ARCHIVE_READER=key:secret ./logstack archive run"
VersionKind = Literal["Versions", "DeleteMarkers"]
ABSENT = {"NoSuchKey", "404", "NoSuchBucket", "NoSuchVersion"}


class StoreError(ArchiveError):
    """The object store did not answer, or refused with an HTTP `status`."""

    status = 0


class MissingError(StoreError):
    """The object does not exist."""


class LockedError(StoreError):
    """A lock or a legal hold forbids it, or the key has no right to do it."""


class UnprovenError(StoreError):
    """The store accepted an object without confirming its hash."""


KINDS: dict[str, type[StoreError]] = {"AccessDenied": LockedError}


@dataclass(frozen=True)
class Access:
    """The address of the store, and the three keys as `key:secret`, or empty."""

    endpoint: str
    region: str
    bucket: str
    writer: str
    reader: str
    admin: str


@dataclass(frozen=True)
class Listed:
    key: str
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True)
class Lock:
    """What protects a version of an object from deletion."""

    mode: str
    until: datetime | None
    legal_hold: bool


class Store:
    """One bucket. Methods raise StoreError."""

    def __init__(self, access: Access):
        self.access = access

    @cached_property
    def writer(self) -> S3Client:
        return self._client("writer")

    @cached_property
    def reader(self) -> S3Client:
        return self._client("reader")

    @cached_property
    def admin(self) -> S3Client:
        return self._client("admin")

    def close(self) -> None:
        for name in ("writer", "reader", "admin"):
            if client := self.__dict__.pop(name, None):
                client.close()

    @property
    def can_read(self) -> bool:
        """Whether the reader's key is set. Without it the hash that the store returns proves an
        upload."""
        return bool(self.access.reader)

    def put(self, key: str, body: bytes | IO[bytes], sha256: str) -> bool:
        """Store an object; the store checks its hash. False when the key exists already.

        Raises UnprovenError when the store returns another hash, or none where it cannot be read
        back.
        """
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        try:
            answer = self.ask(
                f"store {key}",
                lambda: self.writer.put_object(
                    Bucket=self.access.bucket,
                    Key=key,
                    Body=body,
                    ChecksumSHA256=checksum,
                    IfNoneMatch="*",
                ),
            )
        except _TakenError:
            return False
        confirmed = answer.get("ChecksumSHA256", "")
        if confirmed != checksum and (confirmed or not self.can_read):
            raise UnprovenError(
                f"cannot prove that {self._where} stored {key}: expected the SHA-256 {checksum}, "
                f"got {confirmed or 'none'}. It has to be read back. Run: {WITH_READER}"
            )
        return True

    def get(self, key: str) -> bytes:
        """A small object, whole. Raises MissingError when it does not exist."""
        return b"".join(self.chunks(key))

    def chunks(self, key: str, version: str = "") -> Iterator[bytes]:
        """An object, or one version of it, in chunks. Raises MissingError without one."""
        where: Any = {"Bucket": self.access.bucket, "Key": key}
        if version:
            where["VersionId"] = version
        body = self.ask(f"read {key}", lambda: self.reader.get_object(**where)["Body"])
        try:
            yield from body.iter_chunks(CHUNK)
        except FlexibleChecksumError as error:
            raise StoreError(
                f"cannot read {key} from {self._where}: the store corrupts data, by its own "
                f"checksum: {error}"
            ) from None
        except (BotoCoreError, HTTPClientError) as error:
            raise StoreError(
                f"cannot read {key} from {self._where}: the connection broke: {error}"
            ) from None
        finally:
            body.close()

    def has(self, key: str) -> bool:
        """Whether an object can be read; reads a byte of it, because a listing may be stale."""
        bucket, first = self.access.bucket, "bytes=0-0"
        try:
            self.ask(
                f"read {key}",
                lambda: self.reader.get_object(Bucket=bucket, Key=key, Range=first)["Body"].read(),
            )
        except MissingError:
            return False
        return True

    def hash(self, key: str, version: str = "") -> tuple[str, int]:
        """SHA-256 in hexadecimal and size of an object or of a version, read back."""
        digest, size = hashlib.sha256(), 0
        for chunk in self.chunks(key, version):
            digest.update(chunk)
            size += len(chunk)
        return digest.hexdigest(), size

    def listing(self, prefix: str, after: str = "") -> list[Listed]:
        """The objects with a prefix, in the order of their keys, or those after one."""
        pages = self.reader.get_paginator("list_objects_v2")
        return self.ask(
            f"list {prefix}",
            lambda: [
                Listed(item["Key"], item["Size"], item["ETag"].strip('"'), item["LastModified"])
                for page in pages.paginate(
                    Bucket=self.access.bucket, Prefix=prefix, StartAfter=after
                )
                for item in page.get("Contents", [])
            ],
        )

    def first(self, prefix: str) -> list[str]:
        """The first keys with a prefix, at most a thousand, in one request."""
        bucket = self.access.bucket
        answer = self.ask(
            f"list {prefix}", lambda: self.reader.list_objects_v2(Bucket=bucket, Prefix=prefix)
        )
        return [item["Key"] for item in answer.get("Contents", [])]

    def versions(self, prefix: str, kind: VersionKind = "Versions") -> dict[str, list[str]]:
        """Every version, or delete marker, of every object with a prefix, newest first.

        Needs the reader's key.
        """
        pages = self.reader.get_paginator("list_object_versions")

        def all_of() -> dict[str, list[str]]:
            found: dict[str, list[str]] = {}
            for page in pages.paginate(Bucket=self.access.bucket, Prefix=prefix):
                for item in page.get(kind, []):
                    found.setdefault(item["Key"], []).append(item["VersionId"])
            return found

        return self.ask(f"list versions of {prefix}", all_of)

    def versions_of(self, key: str) -> list[str]:
        """Every version of one object, newest first."""
        return self.versions(key).get(key, [])

    def lock(self, key: str, version: str) -> Lock:
        """What protects a version; needs the admin's key."""
        where: dict[str, Any] = {"Bucket": self.access.bucket, "Key": key, "VersionId": version}
        what, absent = f"read the lock of {key}", (400, 404)
        retention = self.ask_optional(
            what, lambda: self.admin.get_object_retention(**where)["Retention"], absent
        )
        hold = self.ask_optional(
            what, lambda: self.admin.get_object_legal_hold(**where)["LegalHold"], absent
        )
        return Lock(
            mode=str(retention.get("Mode", "")).lower(),
            until=retention.get("RetainUntilDate"),
            legal_hold=hold.get("Status") == "ON",
        )

    def hold(self, key: str, version: str, on: bool) -> None:
        """Set or release the legal hold of a version; needs the admin's key."""
        self.ask(
            f"hold {key}",
            lambda: self.admin.put_object_legal_hold(
                Bucket=self.access.bucket,
                Key=key,
                VersionId=version,
                LegalHold={"Status": "ON" if on else "OFF"},
            ),
        )

    def delete(self, key: str, version: str, *, bypass: bool = True) -> None:
        """Delete a version, with `bypass` under a governance lock; needs the admin's key."""
        self.ask(
            f"delete {key}",
            lambda: self.admin.delete_object(
                Bucket=self.access.bucket,
                Key=key,
                VersionId=version,
                BypassGovernanceRetention=bypass,
            ),
        )

    def ask(self, what: str, call: Callable[[], T]) -> T:
        """Any call of a client; its errors become StoreErrors."""
        try:
            return call()
        except ClientError as error:
            code = error.response["Error"].get("Code", "")
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status == 412 or code == "ConditionalRequestConflict":
                raise _TakenError(what) from None
            kind = KINDS.get(code, MissingError if code in ABSENT else StoreError)
            hint = f". Run: {self._set_up}" if code == "NoSuchBucket" else ""
            refusal = kind(f"cannot {what} in {self._where}: {_explain(error)}{hint}")
            refusal.status = status
            raise refusal from None
        except (BotoCoreError, HTTPClientError) as error:
            raise StoreError(
                f"cannot {what} in {self._where}: {error}. Run: ./logstack status"
            ) from None

    def ask_optional(
        self, what: str, call: Callable[[], Any], absent: tuple[int, ...] = (404,)
    ) -> dict[str, Any]:
        """The result of a call, or nothing where the answer has a status of `absent`."""
        try:
            return dict(self.ask(what, call))
        except StoreError as error:
            if error.status in absent:
                return {}
            raise

    def _client(self, role: str) -> S3Client:
        key, _, secret = getattr(self.access, role).partition(":")
        if not (key and secret):
            raise StoreError(
                f"cannot use {self._where}: the {role}'s key is not set. "
                f"Set LOGSTACK_ARCHIVE_{role.upper()}=key:secret"
            )
        return _session().client(
            "s3",
            endpoint_url=self.access.endpoint,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            region_name=self.access.region,
            config=Config(
                retries={"max_attempts": 4, "mode": "standard"},
                connect_timeout=5,
                read_timeout=READ_SECONDS,
                request_checksum_calculation="when_required",
                s3={"addressing_style": "path"},
            ),
        )

    @property
    def _set_up(self) -> str:
        key = "" if self.access.admin else "LOGSTACK_ARCHIVE_ADMIN=key:secret "
        return f"{key}./logstack archive run"

    @property
    def _where(self) -> str:
        return f"{self.access.endpoint}/{self.access.bucket}"


class _TakenError(Exception):
    """The key exists already."""


@lru_cache
def _session() -> boto3.Session:
    session = botocore.session.get_session()
    parsers = session.get_component("response_parser_factory")
    parsers.set_parser_defaults(timestamp_parser=_parse_timestamp)
    return boto3.Session(botocore_session=session)


def _parse_timestamp(text: str) -> datetime:
    """As botocore does, whose parser takes most of the time of listing a year's manifests."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # in headers
        return parse_timestamp(text)


def _explain(error: ClientError) -> str:
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    details = error.response["Error"]
    return f"HTTP {status} {details.get('Code', '')}: {details.get('Message', '')}".rstrip(": ")
