"""Changes to what is archived with the admin key, each of which verify names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stack.archive.format.manifest import canonical
from stack.archive.storage.store import Store
from tests.support.archives import (
    ArchiveUnderTest,
    SharedStore,
    at,
    keys_of,
    yesterday,
)

pytestmark = [pytest.mark.native, pytest.mark.own_stack]


def destroy(store: Store, key: str) -> None:
    for version in store.versions(key)[key]:
        store.delete(key, version)


def overwrite(store: Store, key: str, body: bytes) -> None:
    """As the admin's key allows: the only trace is another version."""
    store.admin.put_object(Bucket=store.access.bucket, Key=key, Body=body)


def replace_silently(store: Store, key: str, body: bytes) -> None:
    """The object and its history are deleted, and another one has its key."""
    destroy(store, key)
    overwrite(store, key, body)


def test_a_changed_part_is_found_and_named(archived: ArchiveUnderTest) -> None:
    """One flipped bit, with size and key unchanged; a restore and a search refuse the part."""
    store = archived.store()
    key = keys_of(store, "hr=03/part")[0]
    body = bytearray(store.get(key))
    body[len(body) // 2] ^= 1
    replace_silently(store, key, bytes(body))
    store.close()
    assert archived.verify()["ok"]
    assert archived.problems("--deep") == {("part-changed", key)}
    for command in ("restore", "search"):
        result = archived.run("archive", command, "--from", "4d", "--to", "now")
        assert result.returncode == 1
        assert key in result.stderr
    assert all(b"T03:" not in line for line in archived.stored("restored"))


def test_a_missing_cut_or_overwritten_part_is_reported_without_reading(
    archived: ArchiveUnderTest,
) -> None:
    """The listing is enough."""
    store = archived.store()
    [first], [second] = keys_of(store, "hr=03/part"), keys_of(store, "hr=04/part")
    destroy(store, first)
    body = store.get(second)
    overwrite(store, second, body[:-4])
    store.close()
    assert archived.problems() == {
        ("part-missing", first),
        ("part-size", second),
        ("written-over", second),
    }


def test_a_deleted_manifest_is_named_wherever_it_was(archived: ArchiveUnderTest) -> None:
    """In the middle by its number and its hour, at the end by what this machine remembers."""
    store = archived.store()
    manifests = keys_of(store, "/manifests/")
    destroy(store, manifests[1])
    destroy(store, manifests[-1])
    store.close()
    hour = f"{yesterday(4):%Y-%m-%dT%H:%M:%S}Z"
    found = archived.problems()
    assert {("manifest-missing", manifests[1]), ("hour-missing", hour)} <= found
    assert ("manifest-missing", manifests[-1]) in found
    result = archived.run("archive", "run")
    assert result.returncode == 1
    assert "archive verify" in result.stderr


def test_a_rewritten_manifest_is_named(archived: ArchiveUnderTest) -> None:
    """Its signature no longer fits; that it was valid JSON with its own counts does not help."""
    store = archived.store()
    key = keys_of(store, "/manifests/")[0]
    values = json.loads(store.get(key))
    values["parts"][0]["records"] = values["archived_records"] = 2
    replace_silently(store, key, canonical(values) + b"\n")
    store.close()
    assert ("manifest-changed", key) in archived.problems()


def test_a_count_that_differs_from_the_engine_is_named(
    archived: ArchiveUnderTest, shared_store: SharedStore
) -> None:
    """While the records are hot: the engine lost one, or the archive never had it."""
    shared_store.empty_engine()
    archived.push([at(yesterday(3), "user 1", user_id=1)])
    kinds = {kind for kind, _ in archived.problems()}
    assert kinds == {"engine-counts"}


def test_a_store_that_was_set_back_as_a_whole_is_reported(
    archived: ArchiveUnderTest, tmp_path: Path
) -> None:
    """By this machine, and on any other by the head that a verify printed or a run logged."""
    head = archived.verify()["head"]
    number, _, digest = head.partition(":")
    events = archived.target.archiver_log_file.read_text(encoding="utf-8").splitlines()
    assert json.loads(events[-1])["chain_head"] == head
    assert archived.verify("--head", head)["ok"]
    store = archived.store()
    last = keys_of(store, "/manifests/")[-1]
    document = store.get(last)
    destroy(store, last)
    folder = archived.target.archive_dir
    assert {kind for kind, _ in archived.problems()} == {"manifest-missing", "rolled-back"}
    folder.rename(tmp_path / "the machine's")  # an auditor's has none
    assert archived.verify()["ok"]
    assert archived.problems("--head", head) == {("rolled-back", "--head")}
    other = f"{int(number) - 1}:{digest}"
    assert archived.problems("--head", other) == {("rolled-back", "--head")}
    result = archived.run("archive", "verify", "--head", "yesterday")
    assert "--head: expected <number>:<SHA-256>" in result.stderr
    shutil.rmtree(folder, ignore_errors=True)
    (tmp_path / "the machine's").rename(folder)
    assert store.get(keys_of(store, "/manifests/")[-1]) != document
    store.close()
    archived.ok("archive", "repair")
    assert archived.verify("--head", head)["ok"]


def test_parts_are_stored_again_while_the_engine_has_their_records(
    archived: ArchiveUnderTest, shared_store: SharedStore
) -> None:
    """One that is lost and one with other bytes; none that would be another than was sealed."""
    archived.push([at(yesterday(3, minutes=2), "late", user_id=2)])  # between those of a part
    archived.ok("archive", "run")
    store = archived.store()
    lost, other = keys_of(store, "hr=03/part-0")[0], keys_of(store, "hr=04/part-")[0]
    destroy(store, lost)
    replace_silently(store, other, store.get(other)[:-9])
    assert {key for _, key in archived.problems("--deep")} == {lost, other}
    repaired = json.loads(archived.ok("archive", "repair", "--json"))
    assert repaired["rebuilt"] == [lost, other]
    assert archived.verify("--deep")["ok"]

    replace_silently(store, lost, b"something else")
    shared_store.empty_engine()
    archived.push([at(yesterday(3), "user 1", user_id=1)])
    result = archived.run("archive", "repair")
    assert result.returncode == 1
    assert f"{lost}: what the engine has of it makes another part" in result.stdout
    assert store.get(lost) == b"something else"
    store.close()


def test_the_engine_knows_the_head_on_a_machine_that_knows_none(
    archived: ArchiveUnderTest, tmp_path: Path
) -> None:
    """Each run compares it: one that goes on from a chain that was set back would be a fork."""
    archived.push(archived.target.archiver_log_file.read_bytes().splitlines())  # as the agent does
    store = archived.store()
    destroy(store, keys_of(store, "/manifests/")[-1])
    store.close()
    archived.target.archive_dir.rename(tmp_path / "the machine's")
    assert archived.problems() == {("rolled-back", "a record in victorialogs")}
    result = archived.run("archive", "run")
    assert result.returncode == 1
    assert "rolled-back: a record in victorialogs: the chain had" in result.stderr
    assert json.loads(archived.target.archiver_log_file.read_text().splitlines()[-1])[
        "message"
    ].startswith("Archiving failed: rolled-back")
