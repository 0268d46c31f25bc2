"""What `logstack doctor` reports about an archive."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stack.archive import failpoints
from stack.archive.format.layout import DAY, rfc3339
from tests.support.archives import NOW, ArchiveUnderTest, at, yesterday

# An engine of their own has exactly the arguments of the settings.
pytestmark = [pytest.mark.native, pytest.mark.own_stack, pytest.mark.own_engine]


@pytest.fixture
def archived(archive: ArchiveUnderTest) -> ArchiveUnderTest:
    archive.push([at(yesterday(3))])
    archive.ok("archive", "run")
    return archive


def is_current(archive: ArchiveUnderTest) -> tuple[bool, str]:
    finding = archive.findings()["archive is current"]
    return finding["ok"], finding["text"]


def test_an_archive_that_does_not_exist_yet_names_one_command(
    archive: ArchiveUnderTest,
) -> None:
    """Nothing ran so far: there is no bucket."""
    finding = archive.findings()["archive is current"]
    assert not finding["ok"]
    assert finding["command"] == "./logstack archive run"
    assert "Run: " not in finding["text"]


def test_old_records_that_came_after_a_run_are_not_behind(archive: ArchiveUnderTest) -> None:
    """An agent that begins with an old file: the next run archives them."""
    archive.ok("archive", "run")
    archive.push([at(yesterday(3))])
    ok, text = is_current(archive)
    assert ok, text
    assert "no hour is archived yet, the last run was at" in text
    assert text.endswith("0.0 h ago")
    archive.ok("archive", "run")
    ok, text = is_current(archive)
    assert ok, text
    assert "archived up to" in text


def test_an_archiver_that_stopped_or_never_ended_a_run_is_behind(archive: ArchiveUnderTest) -> None:
    """From its last run on, or from the first records."""
    archive.push([at(NOW - timedelta(seconds=10))])
    killed = archive.run("archive", "run", "--now", extra={failpoints.VARIABLE: "export-started"})
    assert killed.returncode == -9, killed.stderr
    ok, text = is_current(archive)
    assert ok, text
    archive.push([at(yesterday(3))])
    ok, text = is_current(archive)
    assert not ok
    assert (
        f"no run has finished yet, the first records are of {yesterday(3):%Y-%m-%d} 03:00 UTC"
        in text
    )
    view = archive.archive
    view.save_state(exported=rfc3339(NOW - DAY))
    view.store.close()
    ok, text = is_current(archive)
    assert not ok
    assert "no hour is archived yet, the last run was at" in text
    assert text.endswith("24.0 h ago")


def test_doctor_asks_the_running_engine(archived: ArchiveUnderTest) -> None:
    """Not the file: an engine that was started with another retention is reported."""
    findings = archived.findings()
    assert [name for name, item in findings.items() if not item["ok"]] == [
        "programs",
        "alert rules",
    ]
    assert "cannot reach vmalert" in findings["alert rules"]["text"]
    archived.stop("victorialogs")
    archived.start("victorialogs", extra=["-retentionPeriod=3d"])
    findings = archived.findings()
    assert not findings["hot retention"]["ok"]
    assert "got 3 days" in findings["hot retention"]["text"]


def test_doctor_reads_the_buckets_rules_back(archived: ArchiveUnderTest) -> None:
    """A removed expiry and a shortened lock are both reported."""
    store = archived.store()
    bucket = store.access.bucket
    store.admin.delete_bucket_lifecycle(Bucket=bucket)
    shorter: Any = {"Mode": "GOVERNANCE", "Days": 1}
    store.admin.put_object_lock_configuration(
        Bucket=bucket,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": shorter},
        },
    )
    store.close()
    findings = archived.findings()
    assert "got no rule" in findings["expiry"]["text"]
    assert "got governance, 1 day" in findings["object lock"]["text"]


def test_hours_that_were_sealed_by_a_clock_ahead_are_not_called_current(
    archived: ArchiveUnderTest,
) -> None:
    """It said that the archive was -5 h behind, and saw nothing for as long."""
    archived.now = NOW + timedelta(hours=5)
    archived.ok("archive", "run")
    archived.now = NOW
    ok, text = is_current(archived)
    assert not ok
    assert "h ahead: the clock of a run was ahead" in text
    archived.now = NOW + timedelta(hours=5)
    assert is_current(archived)[0]
