"""What goes wrong with an archive: keys, a store or a disk that fails."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stack.archive import expire
from stack.archive.format.layout import day_of
from stack.archive.storage.store import StoreError
from stack.settings.secrets import archive_secrets
from tests.support.archives import (
    ArchiveUnderTest,
    at,
    faulty_store,
    keys_of,
    running_archive,
    three_users,
    yesterday,
)
from tests.support.native_stack import poll

pytestmark = [pytest.mark.native, pytest.mark.own_stack]


@pytest.fixture
def archive_and_store(tmp_path: Path, binaries: None) -> Iterator[ArchiveUnderTest]:
    """With a SeaweedFS of its own, to be stopped, or with exactly the rights of its keys."""
    with running_archive(tmp_path, None, {}) as started:
        yield started


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
        ("no versions", "It supports no ListObjectVersions"),
        ("no conditions", "It supports no conditional writes (If-None-Match: *)"),
        ("no SHA-256", "It supports no checksums (x-amz-checksum-sha256)"),
        ("no lock", "no Object Lock, without which nothing protects objects from deletion"),
        ("no lifecycle", "no lifecycle rules, without which no part would expire"),
    ],
)
def test_a_store_that_lacks_what_later_steps_need_is_refused_by_the_first_run(
    archive: ArchiveUnderTest, fault: str, text: str
) -> None:
    """It was accepted, exported to for a week, and then every run failed."""
    archive.push([at(yesterday(3))])
    with faulty_store(archive, fault):
        result = archive.run("archive", "run")
    assert result.returncode == 1
    assert text in " ".join(result.stderr.split())
    store = archive.store()
    assert keys_of(store, "/manifests/") == []
    store.close()


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
    with faulty_store(archive, fault) as proxy:
        result = archive.run("archive", "run")
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
    with faulty_store(archived, fault):
        problems = archived.verify("--deep")["problems"]
        view = archived.archive
        blocked = expire.check_day(view, view.ledger(), day_of(yesterday()))
        view.store.close()
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
