"""Archived days are deleted from the engine: when, in which order, and what blocks it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from stack.archive import failpoints
from stack.archive.format.layout import DAY, day_of
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
