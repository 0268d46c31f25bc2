"""Archived days are deleted from the engine: when, in which order, and what blocks it."""

from __future__ import annotations

import errno
import json
from datetime import timedelta

import pytest

from stack.archive import expire, export, failpoints
from stack.archive.format.layout import DAY, day_of
from stack.archive.storage import parts
from tests.support.archives import (
    NOW,
    SHORT_LIVED,
    ArchiveUnderTest,
    at,
    keys_of,
    yesterday,
)
from tests.support.native_stack import poll

pytestmark = [pytest.mark.native, pytest.mark.own_stack]
VARIABLES = SHORT_LIVED


def old_rows() -> list[bytes]:
    """A record of three days ago and one of yesterday."""
    return [at(yesterday(3) - 2 * DAY, "old"), at(yesterday(3), "young")]


def test_an_archived_and_verified_day_is_deleted_in_time(archive: ArchiveUnderTest) -> None:
    """The hot records of the day are deleted, its archive stays and can be restored."""
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


@pytest.mark.own_engine
@pytest.mark.parametrize("name", failpoints.EXPIRE)
def test_an_expiry_killed_anywhere_is_finished_by_the_next(
    archive: ArchiveUnderTest, name: str
) -> None:
    """The day is deleted afterwards, and no other."""
    archive.push(old_rows())
    killed = archive.run("archive", "run", extra={failpoints.VARIABLE: name})
    assert killed.returncode == -9, killed.stderr
    archive.stop("victorialogs")
    archive.start("victorialogs")
    archive.ok("archive", "run")
    assert len(archive.stored()) == 1
    assert archive.verify("--deep")["ok"]


def test_a_day_whose_archive_is_damaged_stays_and_doctor_reports_it(
    archive: ArchiveUnderTest,
) -> None:
    """The engine keeps it, the archiver records why, and doctor fails before it is too late."""
    archive.push(old_rows())
    killed = archive.run("archive", "run", extra={failpoints.VARIABLE: "day-verified"})
    assert killed.returncode == -9
    state = archive.target.data_dir / "archive" / "state.json"
    values = json.loads(state.read_text(encoding="utf-8"))
    state.write_text(json.dumps({**values, "verified": {}}), encoding="utf-8")
    store = archive.store()
    old = day_of(yesterday()) - 2 * DAY
    [key] = keys_of(store, f"dt={old:%Y-%m-%d}/hr=03/part")
    store.delete(key, store.versions(key)[key][0])
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


@pytest.mark.parametrize(
    "variables",
    [{"LOGSTACK_RETENTION__HOT_DAYS": "9", "LOGSTACK_ARCHIVE__LATENESS": "1h"}],
    ids=["nine days"],
)
def test_a_damaged_part_is_reported_while_the_engine_has_its_records(
    archive: ArchiveUnderTest,
) -> None:
    """At the first attempt to verify its day, not when the day is over; then less often read."""
    day = day_of(yesterday()) - DAY
    archive.push([at(day + timedelta(hours=3), "old"), at(yesterday(3), "young")])
    view = archive.archive
    export.run(view)
    [key] = keys_of(view.store, f"dt={day:%Y-%m-%d}/hr=03/part")
    lost = view.store.get(key)
    view.store.delete(key, view.store.versions_of(key)[0])
    for _ in range(expire.ATTEMPTS):
        result = json.loads(archive.ok("archive", "run", "--json"))["expiry"]
        assert list(result["unverified"]) == [f"{day:%Y-%m-%d}"]
    assert archive.target.archiver_log_file.read_text().count("archive_day_unverified") == 3
    found = archive.findings()["gate"]
    assert not found["ok"]
    assert f"1 day cannot be verified, {day:%Y-%m-%d} since" in found["text"]
    assert found["command"] == "./logstack archive verify --deep"
    view.store.admin.put_object(Bucket=view.store.access.bucket, Key=key, Body=lost)
    result = json.loads(archive.ok("archive", "run", "--json"))["expiry"]
    assert list(result["unverified"]) == [f"{day:%Y-%m-%d}"]  # it was read often enough
    assert archive.now is not None
    archive.now += expire.AGAIN
    result = json.loads(archive.ok("archive", "run", "--json"))["expiry"]
    assert f"{day:%Y-%m-%d}" in result["verified"]
    assert archive.findings()["gate"]["ok"]
    view.store.close()


def test_a_full_disk_is_reported_with_its_folder(
    archive: ArchiveUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of a file without a name has no folder, and the run's record quotes it."""
    archive.push(old_rows())

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(parts, "TemporaryFile", full)
    result = archive.run("archive", "run")
    assert result.returncode == 1
    text = " ".join(result.stderr.split())
    folder = archive.target.archive_dir
    assert f"cannot write to {folder}: no space left on device" in text
    assert f"Run: df -h {folder}" in text
    [failed] = [
        event
        for event in map(json.loads, archive.target.archiver_log_file.read_text().splitlines())
        if event["event_type"] == "archive_run_failed"
    ]
    assert str(folder) in failed["message"]


@pytest.mark.parametrize(
    "variables",
    [{"LOGSTACK_LIMITS__HOT_DISK": "1B", "LOGSTACK_ARCHIVE__LATENESS": "1h"}],
    ids=["1 byte"],
)
def test_days_are_deleted_early_when_the_disk_limit_is_reached(archive: ArchiveUnderTest) -> None:
    """Verified ones, the oldest first; an unverified one stays although the limit is passed."""
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
