"""What goes wrong with an archive: tampering, a store that fails, erasure, and expiry."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stack.archive import expire, failpoints
from stack.archive.format.layout import DAY, day_of
from stack.archive.format.manifest import canonical
from stack.archive.storage.store import Store, StoreError
from stack.settings.secrets import archive_secrets
from tests.support.archives import (
    NOW,
    ArchiveUnderTest,
    SharedStore,
    at,
    in_folder,
    keys_of,
    three_users,
    with_own_engine,
    yesterday,
)
from tests.support.native_stack import poll
from tests.support.store_proxy import Proxy

pytestmark = [pytest.mark.native, pytest.mark.own_stack]


@pytest.fixture
def archive(
    tmp_path: Path, binaries: None, shared_store: SharedStore
) -> Iterator[ArchiveUnderTest]:
    under_test = in_folder(tmp_path, shared_store)
    under_test.start()
    yield under_test
    under_test.stop()


@pytest.fixture
def archive_and_store(tmp_path: Path, binaries: None) -> Iterator[ArchiveUnderTest]:
    """With a SeaweedFS of its own, to be stopped, or with exactly the rights of its keys."""
    under_test = in_folder(tmp_path, None)
    under_test.start()
    yield under_test
    under_test.stop()


@pytest.fixture
def archived(archive: ArchiveUnderTest) -> ArchiveUnderTest:
    """Three records of three users in each of two hours, archived."""
    archive.push(three_users())
    archive.ok("archive", "run")
    return archive


def overwrite(store: Store, key: str, body: bytes) -> None:
    """As the admin's key allows: the only trace is another version."""
    store.admin.put_object(Bucket=store.access.bucket, Key=key, Body=body)


def destroy(store: Store, key: str) -> None:
    for version in store.versions(key)[key]:
        store.delete(key, version)


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


def test_keys_can_do_what_they_are_for_and_no_more(archive_and_store: ArchiveUnderTest) -> None:
    """The writer neither reads nor deletes, the reader neither writes nor deletes, nor can the
    admin delete without asking to bypass the lock."""
    archive_and_store.push(three_users())
    archive_and_store.ok("archive", "run")
    store = archive_and_store.store()
    key = keys_of(store, "hr=03/part")[0]
    [version] = store.versions(key)[key]
    where: dict[str, Any] = {"Bucket": store.access.bucket, "Key": key}
    refused = [
        lambda: store.writer.get_object(**where),
        lambda: store.writer.delete_object(**where),
        lambda: store.writer.delete_object(**where, VersionId=version),
        lambda: store.writer.delete_object(
            **where, VersionId=version, BypassGovernanceRetention=True
        ),
        lambda: store.reader.put_object(**where, Body=b""),
        lambda: store.reader.delete_object(**where),
        lambda: store.admin.delete_object(**where, VersionId=version),
    ]
    for call in refused:
        with pytest.raises(StoreError, match="AccessDenied"):
            store.ask("try", call)
    assert store.lock(key, version).mode == "governance"
    assert store.get(key)
    store.close()


def test_the_store_being_down_loses_nothing(archive_and_store: ArchiveUnderTest) -> None:
    """The run fails with one clear text, is recorded, and the next one archives everything."""
    archive = archive_and_store
    archive.push([at(yesterday(3))])
    archive.stop("seaweedfs")
    result = archive.run("archive", "run")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "./logstack status" in result.stderr
    events = (archive.target.archiver_log_file).read_text(encoding="utf-8").splitlines()
    assert json.loads(events[-1])["event_type"] == "archive_run_failed"
    archive.start("seaweedfs")
    archive.ok("archive", "run")
    assert archive.verify("--deep")["records"] == 1


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("full", "InsufficientStorage"),
        ("wrong bytes", "corrupts"),
        ("wrong bytes, no checksum", "corrupts"),
        ("breaks off", "connection broke"),
        ("slow", ""),
    ],
)
def test_a_store_that_is_full_slow_or_wrong(
    archive: ArchiveUnderTest, fault: str, text: str
) -> None:
    """Out of space, wrong bytes and broken connections seal nothing and are reported; slowness only
    takes time."""
    archive.push([at(yesterday(3))])
    proxy = Proxy(archive.target.url("seaweedfs"), fault)
    archive.configure(LOGSTACK_ARCHIVE__ENDPOINT=f"http://127.0.0.1:{proxy.server_port}")
    try:
        result = archive.run("archive", "run")
    finally:
        proxy.stop()
        archive.configure(LOGSTACK_ARCHIVE__ENDPOINT="")
    assert proxy.requests
    if text:
        assert result.returncode == 1
        assert text in result.stderr
        store = archive.store()
        assert keys_of(store, "/manifests/") == []
        store.close()
    archive.ok("archive", "run")
    assert archive.verify("--deep")["records"] == 1


@pytest.mark.parametrize(
    ("fault", "text"), [("breaks off", "connection broke"), ("wrong bytes", "its own checksum")]
)
def test_an_unreadable_part_is_not_reported_as_changed(
    archived: ArchiveUnderTest, fault: str, text: str
) -> None:
    """Verify gives the store's answer for each part, and the day is not deleted."""
    store = archived.store()
    parts = keys_of(store, "/part-")
    store.close()
    proxy = Proxy(archived.target.url("seaweedfs"), fault)
    archived.configure(LOGSTACK_ARCHIVE__ENDPOINT=f"http://127.0.0.1:{proxy.server_port}")
    view = archived.archive
    try:
        problems = archived.verify("--deep")["problems"]
        blocked = expire.check_day(view, view.ledger(), day_of(yesterday()))
    finally:
        view.store.close()
        proxy.stop()
        archived.configure(LOGSTACK_ARCHIVE__ENDPOINT="")
    assert [(item["kind"], item["what"]) for item in problems] == [
        ("part-unreadable", key) for key in parts
    ]
    assert all(text in item["text"] and "expected the SHA" not in item["text"] for item in problems)
    assert blocked == [item["text"] for item in problems]
    assert archived.verify("--deep")["ok"]


def test_a_forgotten_signing_key_is_asked_for_and_not_made_up(archived: ArchiveUnderTest) -> None:
    """On another machine, every manifest would seem to be rewritten with a new one."""
    held = archive_secrets(archived.target.data_dir, {})
    other = {
        "LOGSTACK_PATHS__DATA": str(archived.folder / "second data"),
        "LOGSTACK_PATHS__RUN": str(archived.folder / "second run"),
        "LOGSTACK_ARCHIVE__ENDPOINT": archived.target.url("seaweedfs"),
        "LOGSTACK_ARCHIVE_READER": held["LOGSTACK_ARCHIVE_READER"],
    }
    for command in (("verify",), ("search",), ("run",), ("key",)):
        result = archived.run("archive", *command, extra=other)
        assert result.returncode == 1
        assert "LOGSTACK_ARCHIVE_SIGNING_KEY: expected the key" in " ".join(result.stderr.split())
    assert not (archived.folder / "second data").exists()
    given = {**other, "LOGSTACK_ARCHIVE_SIGNING_KEY": held["LOGSTACK_ARCHIVE_SIGNING_KEY"]}
    assert json.loads(archived.ok("archive", "verify", "--json", extra=given))["ok"]


def test_a_fault_of_this_machines_disk_is_logged_and_the_archiver_continues(
    archive: ArchiveUnderTest,
) -> None:
    """It does not end without a word: the alert rules look for a record of the failure."""
    archive.push([at(yesterday(3))])
    archive.ok("archive", "run")
    archive.push([at(yesterday(4))])
    archive.configure(LOGSTACK_ARCHIVE__INTERVAL="2s")
    work = archive.target.data_dir / "archive" / "work"
    shutil.rmtree(work)
    work.write_text("no folder", encoding="utf-8")
    log = archive.target.archiver_log_file
    log.unlink()
    archiver = archive.popen("archive", "run", "--every-interval")
    try:
        poll(lambda: log.exists() and "archive_run_failed" in log.read_text(), archive.logs)
        assert str(work) in log.read_text(encoding="utf-8")
        work.unlink()
        poll(lambda: "archive_run_finished" in log.read_text(), archive.logs)
        assert archiver.poll() is None
    finally:
        archiver.kill()
        archiver.communicate()
    assert archive.verify("--deep")["records"] == 2


def test_an_archiver_that_starts_before_the_store_reports_no_failure(
    archive_and_store: ArchiveUnderTest,
) -> None:
    """`make up` starts both at once, and an alert would fire for each start."""
    archive = archive_and_store
    archive.push([at(yesterday(3))])
    archive.stop("seaweedfs")
    archiver = archive.popen("archive", "run", "--every-interval")
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            archiver.wait(timeout=4)
        archive.start("seaweedfs")
        log = archive.target.archiver_log_file
        poll(lambda: log.exists() and "archive_run_finished" in log.read_text(), archive.logs)
        assert "archive_run_failed" not in log.read_text(encoding="utf-8")
    finally:
        archiver.kill()
        archiver.communicate()


def test_a_disk_that_is_full_seals_nothing_and_loses_nothing(
    archive_and_store: ArchiveUnderTest,
) -> None:
    """SeaweedFS itself refuses to store; the next run with free space archives all."""
    archive = archive_and_store
    archive.push([at(yesterday(3))])
    archive.ok("archive", "run")
    archive.push([at(yesterday(4))])
    archive.stop("seaweedfs")
    archive.start("seaweedfs", extra=["-volume.minFreeSpace=900000GiB"])
    result = archive.run("archive", "run")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "cannot store v1/" in result.stderr
    events = archive.target.archiver_log_file.read_text(encoding="utf-8").splitlines()
    assert json.loads(events[-1])["event_type"] == "archive_run_failed"
    archive.stop("seaweedfs")
    archive.start("seaweedfs")
    archive.ok("archive", "run")
    report = archive.verify("--deep")
    assert report["ok"], report["problems"]
    assert report["records"] == 2


# --- expiry


# Keeps a day hot for one day, and accepts late records for an hour.
SHORT_LIVED = {
    "LOGSTACK_RETENTION__HOT_DAYS": "1",
    "LOGSTACK_RETENTION__MARGIN_DAYS": "3",
    "LOGSTACK_ARCHIVE__LATENESS": "1h",
}


def old_rows() -> list[bytes]:
    """A record of three days ago and one of yesterday."""
    return [at(yesterday(3) - 2 * DAY, "old"), at(yesterday(3), "young")]


def test_an_archived_and_verified_day_is_deleted_in_time(
    tmp_path: Path, binaries: None, shared_store: SharedStore
) -> None:
    """The hot records of the day are deleted, its archive stays and can be restored."""
    archive = in_folder(tmp_path, shared_store, **SHORT_LIVED)
    try:
        archive.start()
        archive.push(old_rows())
        before = archive.stored()
        result = json.loads(archive.ok("archive", "run", "--json"))
        old = f"{day_of(yesterday()) - 2 * DAY:%Y-%m-%d}"
        assert result["expiry"]["dropped"] == [old]
        poll(lambda: len(archive.stored()) == 1, "one record left")
        assert not (
            archive.target.storage_dir("victorialogs") / "partitions" / old.replace("-", "")
        ).exists()
        assert archive.verify("--deep")["ok"]
        archive.ok("archive", "restore", "--from", "5d", "--to", "now")
        assert archive.stored("restored") == before
    finally:
        archive.stop()


@pytest.mark.parametrize("name", failpoints.EXPIRE)
def test_an_expiry_killed_anywhere_is_finished_by_the_next(
    tmp_path: Path, binaries: None, shared_store: SharedStore, name: str
) -> None:
    """The day is deleted afterwards, and no other."""
    archive = with_own_engine(tmp_path, shared_store, **SHORT_LIVED)
    try:
        archive.start("victorialogs", extra=["-maxBackfillAge=0"])
        archive.push(old_rows())
        killed = archive.run("archive", "run", extra={failpoints.VARIABLE: name})
        assert killed.returncode == -9, killed.stderr
        archive.stop("victorialogs")
        archive.start("victorialogs")
        archive.ok("archive", "run")
        assert len(archive.stored()) == 1
        assert archive.verify("--deep")["ok"]
    finally:
        archive.stop()


def test_a_day_whose_archive_is_damaged_stays_and_doctor_reports_it(
    tmp_path: Path, binaries: None, shared_store: SharedStore
) -> None:
    """The engine keeps it, the archiver records why, and doctor fails before it is too late."""
    archive = in_folder(tmp_path, shared_store, **SHORT_LIVED)
    try:
        archive.start()
        archive.push(old_rows())
        killed = archive.run("archive", "run", extra={failpoints.VARIABLE: "day-verified"})
        assert killed.returncode == -9
        state = archive.target.data_dir / "archive" / "state.json"
        values = json.loads(state.read_text(encoding="utf-8"))
        state.write_text(json.dumps({**values, "verified": {}}), encoding="utf-8")
        store = archive.store()
        old = day_of(yesterday()) - 2 * DAY
        [key] = keys_of(store, f"dt={old:%Y-%m-%d}/hr=03/part")
        destroy(store, key)
        store.close()
        result = json.loads(archive.ok("archive", "run", "--json"))
        assert list(result["expiry"]["blocked"]) == [f"{old:%Y-%m-%d}"]
        assert result["expiry"]["dropped"] == []
        assert len(archive.stored()) == 2
        findings = archive.findings()
        assert not findings["gate"]["ok"]
        assert f"{old:%Y-%m-%d}" in findings["gate"]["text"]
        events = archive.target.archiver_log_file.read_text(encoding="utf-8").splitlines()
        kept = [e for e in map(json.loads, events) if e["event_type"] == "archive_day_kept"]
        # ArchiveDayKept pages for it; for CRITICAL another alert would page as well.
        assert {event["level"] for event in kept} == {"ERROR"}
    finally:
        archive.stop()


def test_days_are_deleted_early_when_the_disk_limit_is_reached(
    tmp_path: Path, binaries: None, shared_store: SharedStore
) -> None:
    """Verified ones, the oldest first; an unverified one stays although the limit is passed."""
    archive = in_folder(
        tmp_path, shared_store, LOGSTACK_LIMITS__HOT_DISK="1B", LOGSTACK_ARCHIVE__LATENESS="1h"
    )
    try:
        archive.start()
        days = [yesterday(3) - 2 * DAY, yesterday(3)]
        archive.push([at(day) for day in days])
        archive.push([at(NOW - timedelta(minutes=1), "today")])
        result = json.loads(archive.ok("archive", "run", "--json"))
        gone = [f"{day:%Y-%m-%d}" for day in days]
        assert result["expiry"]["dropped_for_space"] == gone
        assert [json.loads(line)["line"] for line in archive.stored()] == ["today"]
        assert "archive_day_dropped_for_space" in archive.target.archiver_log_file.read_text()
        report = archive.verify("--deep")
        assert report["ok"], report["problems"]
        assert report["hours_compared_with_engine"] == 71  # up to NOW
        state = archive.target.data_dir / "archive" / "state.json"
        values = json.loads(state.read_text(encoding="utf-8"))
        assert list(values.pop("dropped")) == gone
        state.write_text(json.dumps(values), encoding="utf-8")  # as another machine sees it
        assert {kind for kind, _ in archive.problems()} == {"engine-counts"}
    finally:
        archive.stop()
