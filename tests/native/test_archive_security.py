"""What somebody with the writer's key, or with access to a port, can do to the archive.

And what is left of a person after an erase.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from botocore.exceptions import ClientError

from stack import artifacts
from stack.archive.format import id_filter
from stack.archive.format.manifest import parse
from stack.archive.storage.store import Store
from stack.components.seaweedfs import vacuum_arguments
from stack.runtimes import local_store
from tests.support.archives import ArchiveUnderTest, at, keys_of, yesterday

pytestmark = [pytest.mark.native, pytest.mark.own_stack]
RULE: Any = {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": "v1/"}, "Expiration": {"Days": 1}}
ORIGINS: Any = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}
FRAME = b"\x28\xb5\x2f\xfd"  # how a zstd frame begins
# Calls of a bucket that the writer's key is for none of.
ON_THE_BUCKET: dict[str, dict[str, Any]] = {
    "put_bucket_lifecycle_configuration": {"LifecycleConfiguration": {"Rules": [RULE]}},
    "get_bucket_lifecycle_configuration": {},
    "delete_bucket_lifecycle": {},
    "put_bucket_cors": {"CORSConfiguration": ORIGINS},
    "delete_bucket_cors": {},
    "delete_bucket_policy": {},
    "put_bucket_versioning": {"VersioningConfiguration": {"Status": "Suspended"}},
    "put_object_lock_configuration": {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}},
    "put_bucket_acl": {"ACL": "public-read"},
    "list_objects_v2": {},
    "list_object_versions": {},
    "delete_bucket": {},
}
ON_A_PART: dict[str, dict[str, Any]] = {
    "get_object": {},
    "head_object": {},
    "delete_object": {},
    "put_object_acl": {"ACL": "public-read"},
    "put_object_tagging": {"Tagging": {"TagSet": []}},
    "put_object_legal_hold": {"LegalHold": {"Status": "ON"}},
    "put_object_retention": {
        "Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": "2026-01-02T00:00:00Z"}
    },
}


def as_writer(store: Store, key: str, body: bytes) -> None:
    """Store an object as somebody with the writer's key can, whatever is there."""
    store.writer.put_object(Bucket=store.access.bucket, Key=key, Body=body)


@pytest.mark.parametrize("call", [*ON_THE_BUCKET, *ON_A_PART])
def test_the_writers_key_stores_and_nothing_else(archived: ArchiveUnderTest, call: str) -> None:
    """Neither rules of the bucket nor anything of what is stored."""
    store = archived.store()
    where: dict[str, Any] = {"Bucket": store.access.bucket}
    if call in ON_A_PART:
        where["Key"] = keys_of(store, "/part-")[0]
    try:
        with pytest.raises(ClientError) as caught:
            getattr(store.writer, call)(
                **where, **ON_THE_BUCKET.get(call, {}), **ON_A_PART.get(call, {})
            )
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    finally:
        store.close()


def test_the_writers_key_stores_only_where_the_archive_does(archived: ArchiveUnderTest) -> None:
    """Not below other prefixes of its bucket, nor in another one."""
    store = archived.store()
    with pytest.raises(ClientError, match="AccessDenied"):
        as_writer(store, "elsewhere/file", b"x")
    with pytest.raises(ClientError, match="AccessDenied"):
        store.writer.create_bucket(Bucket="another-bucket")
    store.close()


def test_rules_that_are_not_of_the_archive_are_reported_and_removed(
    archived: ArchiveUnderTest,
) -> None:
    """With the right rule beside them doctor was content, and manifests expired after a day."""
    store, settings = archived.store(), archived.settings.archive
    assert archived.findings()["expiry"]["ok"]
    rules = store.admin.get_bucket_lifecycle_configuration(Bucket=settings.bucket)["Rules"]
    store.admin.put_bucket_lifecycle_configuration(
        Bucket=settings.bucket, LifecycleConfiguration={"Rules": [*rules, RULE]}
    )
    store.admin.put_bucket_cors(Bucket=settings.bucket, CORSConfiguration=ORIGINS)
    found = archived.findings()["expiry"]
    assert not found["ok"]
    assert "the lifecycle rule 'x' for the prefix 'v1/'; CORS for *" in found["text"]
    assert found["command"] == "./logstack archive repair"
    archived.ok("archive", "repair")
    assert archived.findings()["expiry"]["ok"]
    store.close()


@pytest.mark.parametrize("name", ["README.txt", "00000900.json", "next", "next, signed by others"])
def test_a_stray_object_below_the_manifests_stops_nothing(
    archived: ArchiveUnderTest, name: str
) -> None:
    """Also where the next manifest would be; verify reports it and repair deletes it."""
    store = archived.store()
    last = keys_of(store, "/manifests/")[-1]
    folder, number = last.rsplit("/", 1)[0], int(Path(last).stem)
    file = f"{number + 1:08d}.json" if name.startswith("next") else name
    body = b"not a manifest"
    if "signed" in name:
        values = json.loads(store.get(last))
        body = json.dumps({**values, "sequence": number + 1}).encode()
    stray = f"{folder}/{file}"
    as_writer(store, stray, body)
    archived.push([at(yesterday(5), "after")])
    printed = archived.ok("archive", "run", "--json")
    assert json.loads(printed)["exported"]["records"] == 1
    assert archived.problems("--deep") == {("stray-object", stray)}
    found = archived.ok("archive", "search", "--from", "4d", "--json")
    assert len(found.splitlines()) == 7
    archived.ok("archive", "repair")
    assert archived.verify("--deep")["ok"]
    assert stray not in store.versions("v1/")
    store.close()
    archived.push([at(yesterday(6), "once more")])
    archived.ok("archive", "run")
    assert archived.verify("--deep")["records"] == 8


def test_what_is_stored_over_a_part_or_a_manifest_hides_nothing(
    archived: ArchiveUnderTest,
) -> None:
    """The local store cannot refuse it: it is reported, read past, and deleted by repair."""
    store = archived.store()
    part, manifest = keys_of(store, "hr=03/part")[0], keys_of(store, "/manifests/")[0]
    for key in (part, manifest):
        as_writer(store, key, b"written over")
    found = archived.ok("archive", "search", "--from", "4d", "--json")
    assert len(found.splitlines()) == 6
    archived.ok("archive", "restore", "--from", "4d", "--to", "now")
    assert len(archived.stored("restored")) == 6
    archived.push([at(yesterday(5), "after")])
    archived.ok("archive", "run")
    assert {("written-over", part), ("written-over", manifest)} <= archived.problems()
    archived.ok("archive", "repair")
    assert archived.verify("--deep")["ok"]
    assert [len(store.versions_of(key)) for key in (part, manifest)] == [1, 1]
    store.close()


def test_a_deleted_part_that_the_store_still_has_is_brought_back(
    archived: ArchiveUnderTest,
) -> None:
    """A delete marker hides it: what a lifecycle rule or a plain deletion leaves."""
    store = archived.store()
    key = keys_of(store, "hr=03/part")[0]
    store.admin.delete_object(Bucket=store.access.bucket, Key=key)
    assert len(archived.ok("archive", "search", "--from", "4d", "--json").splitlines()) == 6
    archived.ok("archive", "repair")
    assert archived.verify("--deep")["ok"]
    store.close()


def test_manifests_that_only_this_machine_has_are_stored_again(archived: ArchiveUnderTest) -> None:
    """The bucket was restored from an older backup, which stopped everything."""
    store = archived.store()
    lost = keys_of(store, "/manifests/")[-2:]
    for key in lost:
        for version in store.versions_of(key):
            store.delete(key, version)
    assert archived.run("archive", "run").returncode == 1
    result = json.loads(archived.ok("archive", "repair", "--json"))
    assert result["stored"] == lost
    assert archived.verify("--deep")["ok"]
    archived.ok("archive", "run")
    store.close()


def frames_with(folder: Path, text: bytes) -> int:
    """How many compressed parts with a text lie in the files of a folder."""
    found = 0
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        data = path.read_bytes()
        start = data.find(FRAME)
        while start >= 0:
            try:
                lines = zstandard.ZstdDecompressor().decompressobj().decompress(data[start:])
                found += text in lines
            except zstandard.ZstdError:
                pass
            start = data.find(FRAME, start + 1)
        found += text in data
    return found


def test_an_erase_leaves_nothing_on_the_local_stores_disk(archive: ArchiveUnderTest) -> None:
    """Deleted bytes stay in a volume until it is rewritten, which the erase asks for."""
    name = f"person-{archive.target.settings.archive.bucket}"
    archive.push(
        [
            at(yesterday(3), f"of {name}", user_id=7, request_id="req00000007"),
            at(yesterday(3), "of others", user_id=8, request_id="req00000008"),
        ]
    )
    archive.ok("archive", "run")
    assert archive.shared_store is not None
    disk = archive.shared_store.target.storage_dir("seaweedfs")
    assert frames_with(disk, name.encode()) == 1
    printed = archive.ok("archive", "erase", "--match", "user_id=7", "--reason", "asked for")
    assert "Nothing of them is left on the local store's disk" in printed
    assert "keep 1 filter of request and trace ids" in printed
    assert frames_with(disk, name.encode()) == 0
    store = archive.store()
    documents = [store.get(key) for key in keys_of(store, "/manifests/")]
    store.close()
    key = archive.archive.key.public_key()
    manifests = [parse(text, key) for text in documents]
    [erasure] = [item for item in manifests if item.erasure]
    assert erasure.erasure is not None
    assert all(part.ids == "" for part in erasure.erasure.replaced)
    assert not id_filter.may_hold(erasure.parts[0].ids, "request_id", "req00000007")
    assert id_filter.may_hold(erasure.parts[0].ids, "request_id", "req00000008")
    assert archive.verify("--deep")["records"] == 1


def test_an_erase_while_the_store_cannot_be_asked_reports_what_stays(
    archived: ArchiveUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell of the store gets no answer: another certificate stands for any cause."""
    key = archived.target.config_dir("seaweedfs") / "grpc.key"
    key.write_text("damaged", encoding="utf-8")
    monkeypatch.setattr(local_store, "VACUUM_SECONDS", 3)
    printed = archived.ok("archive", "erase", "--match", "user_id=2", "--reason", "asked for")
    assert "stay on the local store's disk until it frees them, which the next erase" in printed


def test_the_stores_inner_ports_ask_for_a_key(archived: ArchiveUnderTest, tmp_path: Path) -> None:
    """Its own shell lists, deletes and rewrites volumes: with the certificate alone."""
    assert archived.shared_store is not None
    target = archived.shared_store.target
    program = artifacts.find_in_venv("weed")

    def ask(config: Callable[[str], str]) -> str:
        arguments = [config(argument) for argument in vacuum_arguments(target)]
        with subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"HOME": str(tmp_path)},
        ) as shell:
            try:
                return shell.communicate("volume.list\nfs.ls /buckets\n", timeout=8)[0]
            except subprocess.TimeoutExpired:  # it waits for a connection
                shell.kill()
                return shell.communicate()[0]

    assert "volume Id:" in ask(lambda text: text)
    without = ask(lambda text: f"-config_dir={tmp_path}" if "config_dir" in text else text)
    assert "volume" not in without
    assert archived.settings.archive.bucket not in without


def test_records_of_after_an_erase_are_archived(archived: ArchiveUnderTest) -> None:
    """A tombstone ends at its moment; how many records it keeps out is printed and listed."""
    erase = ("archive", "erase", "--reason", "asked for", "--match")
    archived.ok(*erase, "user_id=2")
    archived.push([at(yesterday(3), "late", user_id=2)])
    printed = archived.run("archive", "run")
    assert "2 records were left out: `archive erasures` lists why" in printed.stderr
    assert archived.now is not None
    moment = archived.now + timedelta(minutes=1)
    archived.now = archived.now + timedelta(hours=2)
    archived.push([at(moment, "new", user_id=2), at(moment, "new", user_id=3)])
    archived.ok(*erase, "user_id=3", "--future")
    archived.ok("archive", "run")
    found = archived.ok("archive", "search", "--from", "4d", "--json", "--match", "message=new")
    assert [json.loads(text)["user_id"] for text in found.splitlines()] == [2]
    listed = json.loads(archived.ok("archive", "erasures", "--json"))
    assert [item["excludes_until"] is None for item in listed] == [False, False, True, True]
