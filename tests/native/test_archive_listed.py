"""Objects that the store lists and does not have, or corrupts: verify, expiry and an erase."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from stack.archive import ArchiveError, erase, expire, export, failpoints, verify
from stack.archive.format.layout import DAY, day_of
from stack.archive.storage import store
from tests.support.archives import (
    SHORT_LIVED,
    ArchiveUnderTest,
    at,
    faulty_store,
    in_folder,
    keys_of,
    three_users,
    yesterday,
)
from tests.support.native_stack import ON_ENGINES, Combination

pytestmark = [pytest.mark.native, pytest.mark.own_stack, ON_ENGINES]
VARIABLES = SHORT_LIVED
NOT_FOUND = "404 NoSuchKey"


@pytest.fixture
def archived_with_filer(
    tmp_path: Path, binaries: None, combination: Combination
) -> Iterator[ArchiveUnderTest]:
    """Archived in a SeaweedFS of its own, whose filer's HTTP is on: objects can be lost there."""
    under_test = in_folder(tmp_path, None, combination.variables)
    under_test.start("seaweedfs", extra=["-disableHttp=false", "-filer.disableHttp=false"])
    under_test.start(under_test.engine_name)
    under_test.push(three_users())
    under_test.ok("archive", "run")
    yield under_test
    under_test.stop()


def keys(archive: ArchiveUnderTest, what: str) -> list[str]:
    held = archive.store()
    found = keys_of(held, what)
    held.close()
    return found


def named(archive: ArchiveUnderTest) -> tuple[list[verify.Problem], list[str]]:
    """What verify --deep finds, and why yesterday may not be deleted in the engine."""
    view = archive.archive
    try:
        problems = verify.run(view, deep=True).problems
        return problems, expire.check_day(view, view.ledger(), day_of(yesterday()))
    finally:
        view.store.close()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (NOT_FOUND, "part-missing"),
        ("403 AccessDenied", "part-unreadable"),
        ("503 SlowDown", "part-unreadable"),
        ("silent", "part-unreadable"),
        ("wrong bytes, no checksum", "part-changed"),
        ("short", "part-changed"),
    ],
)
def test_a_listed_part_that_cannot_be_read_unchanged_is_reported_and_blocks_its_day(
    archived: ArchiveUnderTest, monkeypatch: pytest.MonkeyPatch, fault: str, kind: str
) -> None:
    """Whatever the listing contains."""
    monkeypatch.setattr(store, "READ_SECONDS", 1)
    [key] = keys(archived, "hr=03/part")
    with faulty_store(archived, fault, "hr%3D03/part"):
        problems, kept = named(archived)
    assert [(item.kind, item.what) for item in problems] == [(kind, key)]
    assert kept == [item.text for item in problems]
    assert named(archived) == ([], [])


def test_a_day_with_a_listed_part_that_is_missing_is_not_deleted(
    archive: ArchiveUnderTest,
) -> None:
    """It is deleted once the part can be read again."""
    old = yesterday(3) - 2 * DAY
    archive.push([at(old, "old"), at(yesterday(3), "young")])
    view = archive.archive
    export.run(view)
    view.store.close()
    with faulty_store(archive, NOT_FOUND, f"{old:%Y-%m-%d}/hr%3D03/part"):
        result = archive.run("archive", "verify", "--deep")
        assert result.returncode == 1
        assert "part-missing" in result.stdout
        expiry = json.loads(archive.ok("archive", "run", "--json"))["expiry"]
        assert (list(expiry["blocked"]), expiry["dropped"]) == ([f"{old:%Y-%m-%d}"], [])
        assert f"{old:%Y-%m-%d}" not in expiry["verified"]
    expiry = json.loads(archive.ok("archive", "run", "--json"))["expiry"]
    assert expiry["dropped"] == [f"{old:%Y-%m-%d}"]


def test_a_deleted_part_whose_version_is_still_there_is_missing(archived: ArchiveUnderTest) -> None:
    """A plain delete adds a marker; reading it gives a 404."""
    held = archived.store()
    [key] = keys_of(held, "hr=03/part")
    held.admin.delete_object(Bucket=held.access.bucket, Key=key)
    assert held.versions(key)[key]
    held.close()
    problems, kept = named(archived)
    assert [(item.kind, item.what) for item in problems] == [("part-missing", key)]
    assert kept == [item.text for item in problems]


@pytest.mark.parametrize("options", [(), ("--deep",)], ids=["shallow", "deep"])
def test_a_part_lost_below_the_store_is_named_at_once(
    archived_with_filer: ArchiveUnderTest, options: tuple[str, ...]
) -> None:
    """SeaweedFS lists it until it is read."""
    [key] = keys(archived_with_filer, "hr=03/part")
    filer = archived_with_filer.target.url(
        "seaweedfs_filer", f"/buckets/{archived_with_filer.store().access.bucket}"
    )
    folder = f"{filer}/{key}.versions/"
    entries = requests.get(folder, headers={"Accept": "application/json"}, timeout=10).json()
    for entry in entries["Entries"]:
        name = entry["FullPath"].rpartition("/")[2]
        assert requests.delete(folder + name, timeout=10).status_code == 204
    assert key in keys(archived_with_filer, "hr=03/part")
    assert archived_with_filer.problems(*options) == {("part-missing", key)}


@pytest.mark.parametrize("place", ["middle", "newest"])
def test_a_listed_manifest_that_is_missing_is_named_and_keeps_its_day(
    archived: ArchiveUnderTest, place: str
) -> None:
    """This machine has it in its cache, which proves nothing of the archive; another has not."""
    manifests = keys(archived, "/manifests/")
    key = manifests[1] if place == "middle" else manifests[-1]
    with faulty_store(archived, NOT_FOUND, key.rpartition("/")[2]):
        problems, kept = named(archived)
        missing = [item.text for item in problems if item.kind == "manifest-missing"]
        assert [item.what for item in problems if item.kind == "manifest-missing"] == [key]
        assert {item.kind for item in problems} <= {
            "manifest-missing",
            "hour-missing",
            "rolled-back",
        }
        assert len(kept) == (place == "middle")  # the newest manifest is of today
        assert all(key in text for text in [*missing, *kept])
        folder = archived.target.data_dir / "archive"
        folder.rename(folder.with_name("elsewhere"))
        result = archived.run("archive", "search", "--from", "4d")
        assert result.returncode == 1
        assert f"cannot read {key}" in " ".join(result.stderr.split())


def test_an_erase_names_the_orphaned_part_that_it_cannot_read(
    archive: ArchiveUnderTest,
) -> None:
    """It may hold such records; everything else is erased."""
    archive.push([at(yesterday(3, minutes=user), f"user {user}", user_id=user) for user in (1, 2)])
    killed = archive.run("archive", "run", extra={failpoints.VARIABLE: "part-uploaded"})
    assert killed.returncode == -9, killed.stderr
    [key] = keys(archive, "hr=03/part")
    archive.push([at(yesterday(3, minutes=9), "late", user_id=9)])
    archive.ok("archive", "run")
    with faulty_store(archive, NOT_FOUND, key.rpartition("/")[2]):
        view = archive.archive
        with pytest.raises(ArchiveError, match="1 record of 1 hour was erased") as raised:
            erase.run(view, erase.Request((("user_id", "2"),), "asked for"))
        view.store.close()
    assert f"{key}: the store lists it" in str(raised.value)
    assert "run the same erase again" in str(raised.value)
