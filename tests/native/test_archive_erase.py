"""Erasure from the archive: what is erased, what stays erased, and what prevents an erase."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from stack.archive import ArchiveError, erase, failpoints, orphans
from stack.archive.engines import reader_of
from stack.archive.format.layout import DAY
from stack.archive.format.manifest import parse
from stack.archive.storage.store import StoreError
from tests.support.archives import (
    NOW,
    ArchiveUnderTest,
    at,
    keys_of,
    yesterday,
)
from tests.support.native_stack import ON_ENGINES

pytestmark = [pytest.mark.native, pytest.mark.own_stack, ON_ENGINES]


def test_erased_records_stay_erased(archived: ArchiveUnderTest) -> None:
    """From parts, search and restore; the engine that still has them cannot bring them back."""
    store = archived.store()
    before = keys_of(store, "/part-")
    command = ("archive", "erase", "--match", "user_id=2", "--reason", "asked for", "--json")
    result = json.loads(archived.ok(*command))
    assert (result["records"], result["hours"]) == (2, 2)
    assert sorted(result["deleted"]) == before
    assert not [key for key in before if store.versions(key)]
    archived.ok("archive", "run")
    report = archived.verify("--deep")
    assert report["ok"], report["problems"]
    assert report["records"] == 4
    archived.push([at(yesterday(3), "late", user_id=2), at(yesterday(3), "late", user_id=9)])
    archived.ok("archive", "run")
    assert archived.verify("--deep")["records"] == 5
    archived.ok("archive", "restore", "--from", "4d", "--to", "now")
    record_of = reader_of(archived.engine_name)
    users = [record_of(line)["user_id"] for line in archived.stored("restored")]
    assert sorted(users) == [1, 1, 3, 3, 9]
    documents = [store.get(key) for key in keys_of(store, "/manifests/")]
    store.close()
    key = archived.archive.key.public_key()
    tombstones = [m.erasure for m in (parse(text, key) for text in documents) if m.erasure]
    assert [(t.field, t.reason, sum(t.streams.values())) for t in tombstones] == [
        ("user_id", "asked for", 1)
    ] * 2


@pytest.mark.parametrize("name", failpoints.ERASE)
def test_an_erase_killed_anywhere_is_finished_by_the_next(
    archived: ArchiveUnderTest, name: str
) -> None:
    """All matching records are erased, and no others."""
    command = ("archive", "erase", "--match", "user_id=2", "--reason", "asked for")
    killed = archived.run(*command, extra={failpoints.VARIABLE: name})
    assert killed.returncode == -9, killed.stderr
    archived.ok(*command)
    report = archived.verify("--deep")
    assert report["ok"], report["problems"]
    assert report["records"] == 4
    search = ("archive", "search", "--from", "4d", "--match", "user_id=2", "--json")
    assert archived.ok(*search) == ""


def killed_with_an_orphaned_part(archive: ArchiveUnderTest) -> str:
    """A run stored a part of users 1 and 2 and was killed; then a record came. The part's key."""
    archive.push([at(yesterday(3, minutes=user), f"user {user}", user_id=user) for user in (1, 2)])
    killed = archive.run("archive", "run", extra={failpoints.VARIABLE: "part-uploaded"})
    assert killed.returncode == -9, killed.stderr
    store = archive.store()
    [key] = keys_of(store, "hr=03/part")
    store.close()
    archive.push([at(yesterday(3, minutes=9), "late", user_id=9)])
    return key


def erase_later(archive: ArchiveUnderTest, value: str) -> erase.Erased:
    """When no exporter can be about to seal an orphaned part any more, by the store's clock."""
    archive.now = datetime.now(UTC) + orphans.UNDER_WAY
    view = archive.archive
    try:
        return erase.run(view, erase.Request((("user_id", value),), "asked for"))
    finally:
        view.store.close()
        archive.now = NOW


def test_records_are_erased_from_orphaned_parts(archive: ArchiveUnderTest) -> None:
    """A young part may belong to a running exporter: it is reported, and deleted later."""
    orphan = killed_with_an_orphaned_part(archive)
    archive.ok("archive", "run")
    assert {note["what"] for note in archive.verify()["notes"]} == {orphan}
    command = ("archive", "erase", "--reason", "asked for", "--match")
    archive.ok(*command, "user_id=9")  # the part holds none of it
    result = archive.run(*command, "user_id=2")
    assert result.returncode == 1
    text = " ".join(result.stderr.split())
    assert "1 record of 1 hour was erased" in text
    assert f"{orphan}: no manifest names it" in text
    assert "Run the same erase again at 20" in text
    assert erase_later(archive, "2").deleted == [orphan]
    store = archive.store()
    assert orphan not in store.versions("v1/")
    store.close()
    report = archive.verify("--deep")
    assert report["ok"], report["problems"]
    assert (report["records"], report["notes"]) == (1, [])


def test_a_hold_on_a_part_that_no_manifest_names_refuses_an_erase(
    archive: ArchiveUnderTest,
) -> None:
    """As one on any other part: before anything is changed."""
    key = killed_with_an_orphaned_part(archive)
    archive.ok("archive", "run")
    store = archive.store()
    [version] = store.versions(key)[key]
    store.hold(key, version, True)
    with pytest.raises(ArchiveError, match=f"nothing was erased:\n{key}: under a legal hold"):
        erase_later(archive, "2")
    assert archive.verify("--deep")["records"] == 3
    store.hold(key, version, False)
    store.close()
    assert key in erase_later(archive, "2").deleted
    assert archive.verify("--deep")["records"] == 2


def test_an_erase_before_an_hour_is_sealed_reports_that_the_engine_has_the_records(
    archive: ArchiveUnderTest,
) -> None:
    """No tombstone keeps them out of the next run: the same erase has to come after it."""
    killed_with_an_orphaned_part(archive)
    with pytest.raises(ArchiveError, match="Run the same erase again after it"):
        erase_later(archive, "2")
    archive.ok("archive", "run")
    assert erase_later(archive, "2").records == 1
    assert archive.verify("--deep")["records"] == 2


def test_a_legal_hold_refuses_an_erase_until_it_is_lifted(archived: ArchiveUnderTest) -> None:
    """Nothing is changed by the refusal, which names the parts."""
    archived.ok("archive", "hold", "--from", "4d", "--to", "now")
    command = ("archive", "erase", "--match", "user_id=2", "--reason", "asked for")
    result = archived.run(*command)
    assert result.returncode == 1
    assert "legal hold" in result.stderr
    assert archived.verify("--deep")["records"] == 6
    archived.ok("archive", "hold", "--from", "4d", "--to", "now", "--off")
    archived.ok(*command)
    assert archived.verify("--deep")["records"] == 4


def test_a_late_part_of_a_held_hour_is_held(archived: ArchiveUnderTest) -> None:
    """One that a delete marker hides, as of a lifecycle rule, is named with the way back."""
    archived.ok("archive", "hold", "--from", "4d", "--to", "now")
    archived.push([at(yesterday(3, minutes=50), "late", user_id=4)])
    archived.ok("archive", "run")
    store = archived.store()
    keys = keys_of(store, "/hr=03/")
    assert len(keys) == 2
    for key in keys:
        assert [store.lock(key, number).legal_hold for number in store.versions_of(key)] == [True]
    store.admin.delete_object(Bucket=store.access.bucket, Key=keys[0])
    store.close()
    archived.now = NOW + 400 * DAY
    [problem] = [item for item in archived.verify()["problems"] if "hr=03" in item["what"]]
    assert problem["kind"] == "part-missing"
    assert "a legal hold keeps it, but a delete marker hides it" in problem["text"]
    archived.ok("archive", "repair")
    assert "hr=03" not in str(archived.verify()["problems"])


@pytest.mark.parametrize(
    "variables",
    [{"LOGSTACK_ARCHIVE__LOCK": "compliance", "LOGSTACK_ARCHIVE__DAYS": "2"}],
    ids=["compliance"],
)
def test_a_compliance_lock_refuses_an_erase_and_gives_its_end(archive: ArchiveUnderTest) -> None:
    """Not even the admin can shorten that lock."""
    archive.push([at(yesterday(3), user_id=2)])
    archive.ok("archive", "run")
    result = archive.run("archive", "erase", "--match", "user_id=2", "--reason", "asked for")
    assert result.returncode == 1
    store = archive.store()
    [key] = keys_of(store, "/part-")
    until = store.lock(key, store.versions(key)[key][0]).until
    assert until is not None
    assert timedelta(days=1, hours=23) < until - datetime.now(UTC) < timedelta(days=2)
    assert f"compliance mode until {until:%Y-%m-%dT%H}" in result.stderr
    with pytest.raises(StoreError, match="AccessDenied"):
        store.delete(key, store.versions(key)[key][0])
    store.close()
    assert archive.verify("--deep")["records"] == 1
