"""What differs with Loki: deletions that are delayed, and reading in pages."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
import requests

from stack.archive import failpoints
from stack.archive.format.layout import DAY, day_of
from stack.engines.facts import LOKI_RESTORED_TENANT, LOKI_TENANT
from tests.support.archives import (
    NOW,
    SHORT_LIVED,
    ArchiveUnderTest,
    at,
    yesterday,
)
from tests.support.native_stack import LOKI, on

pytestmark = [pytest.mark.native, pytest.mark.own_stack, on(LOKI)]
VARIABLES = SHORT_LIVED


def deletions(archive: ArchiveUnderTest, tenant: str) -> list[str]:
    """The days that Loki is deleting."""
    answer = requests.get(
        archive.target.url("loki", "/loki/api/v1/delete"),
        headers={"X-Scope-OrgID": tenant},
        timeout=10,
    )
    return sorted(
        f"{datetime.fromtimestamp(item['start_time'], UTC):%Y-%m-%d}"
        for item in answer.json() or []
    )


def restart(archive: ArchiveUnderTest) -> None:
    """Loki caches deletions for minutes; a restarted one reads them at once."""
    archive.stop("loki")
    archive.start("loki")


def test_a_verified_day_is_deleted_once_and_its_archive_stays(archive: ArchiveUnderTest) -> None:
    """Loki hides it and deletes it later; an unverified day is not touched."""
    old = day_of(yesterday()) - 2 * DAY
    archive.push([at(yesterday(3) - 2 * DAY, "old"), at(yesterday(3), "young")])
    before = archive.stored()
    killed = archive.run("archive", "run", extra={failpoints.VARIABLE: "day-verified"})
    assert killed.returncode == -9, killed.stderr
    assert deletions(archive, LOKI_TENANT) == []
    result = json.loads(archive.ok("archive", "run", "--json"))
    assert result["expiry"]["dropped"] == [f"{old:%Y-%m-%d}"]
    assert deletions(archive, LOKI_TENANT) == [f"{old:%Y-%m-%d}"]
    restart(archive)
    assert [json.loads(json.loads(row)["line"])["message"] for row in archive.stored()] == ["young"]
    again = json.loads(archive.ok("archive", "run", "--json"))
    assert again["expiry"]["dropped"] == []
    assert again["expiry"]["blocked"] == {}
    assert archive.verify("--deep")["ok"]
    archive.ok("archive", "restore", "--from", "5d", "--to", "now")
    assert archive.stored("restored") == before


def test_very_late_records_are_archived_before_their_day_is_deleted(
    archive: ArchiveUnderTest,
) -> None:
    """Loki accepts records of any age; a day is checked a last time before it is deleted."""
    moment = yesterday(3) - 2 * DAY
    archive.push([at(moment, "in time")])
    killed = archive.run("archive", "run", extra={failpoints.VARIABLE: "day-verified"})
    assert killed.returncode == -9, killed.stderr
    archive.push([at(moment + timedelta(minutes=1), "very late")])
    result = json.loads(archive.ok("archive", "run", "--json"))
    assert result["expiry"]["dropped"] == [f"{moment:%Y-%m-%d}"]
    found = archive.ok("archive", "search", "--from", "5d", "--json")
    assert [json.loads(text)["message"] for text in found.splitlines()] == ["in time", "very late"]


def test_what_was_unrestored_is_hidden_and_can_be_restored_again(
    archive: ArchiveUnderTest,
) -> None:
    """A restore cancels the pending deletion; no record is duplicated."""
    archive.push([at(yesterday(3), "one"), at(yesterday(4), "two")])
    archive.ok("archive", "run")
    before = archive.stored()
    archive.ok("archive", "restore", "--from", "3d", "--to", "now")
    assert archive.stored("restored") == before
    said = archive.run("archive", "unrestore")
    assert said.returncode == 0, said.stderr
    assert deletions(archive, LOKI_RESTORED_TENANT) == [f"{yesterday():%Y-%m-%d}"]
    assert deletions(archive, LOKI_TENANT) == []
    restart(archive)
    assert archive.stored("restored") == []
    assert archive.stored() == before
    command = ("archive", "restore", "--from", "3d", "--to", "now")
    archive.stop("loki")
    archive.start("loki")
    archive.ok(*command)
    assert deletions(archive, LOKI_RESTORED_TENANT) == []
    assert archive.stored("restored") == before


def test_restored_records_of_today_are_deleted(archive: ArchiveUnderTest) -> None:
    """Loki refuses a deletion that ends after the present."""
    archive.now = None
    archive.push([at(datetime.now(UTC) - timedelta(minutes=1), "of today")])
    archive.ok("archive", "run", "--now")
    archive.ok("archive", "restore", "--from", "1h", "--to", "now")
    archive.ok("archive", "unrestore")
    assert deletions(archive, LOKI_RESTORED_TENANT)
    restart(archive)
    assert archive.stored("restored") == []


def test_a_record_of_a_day_that_the_archive_has_not_begun_is_archived(
    archive: ArchiveUnderTest,
) -> None:
    """However old: its day is verified and deleted like any other."""
    archive.push([at(yesterday(3), "in time")])
    archive.ok("archive", "run")
    old = yesterday(3) - 3 * DAY
    archive.push([at(old, "of a day before the first one")])
    result = json.loads(archive.ok("archive", "run", "--json"))["expiry"]
    assert result["blocked"] == {}
    assert f"{old:%Y-%m-%d}" in result["dropped"]
    found = archive.ok("archive", "search", "--from", "9d", "--json")
    texts = [json.loads(text)["message"] for text in found.splitlines()]
    assert texts == ["of a day before the first one", "in time"]
    assert archive.findings()["gate"]["ok"]


def test_a_person_is_deleted_in_loki_with_name_and_session(archive: ArchiveUnderTest) -> None:
    archive.push(
        [
            at(yesterday(3), "answered", user_id=7, session_id="a1b2c3"),
            at(yesterday(3, minutes=1), "before the login", session_id="a1b2c3"),
            at(yesterday(3, minutes=2), "of another", user_id=8),
        ]
    )
    archive.ok("archive", "run")
    archive.ok("archive", "restore", "--from", "3d", "--to", "now")
    erase = ("archive", "erase", "--person", "user_id=7", "--reason", "asked for", "--yes")
    archive.ok(*erase)
    restart(archive)
    for port in ("loki", "restored"):
        held = [json.loads(json.loads(row)["line"])["message"] for row in archive.stored(port)]
        assert held == ["of another"], port


def test_thousands_of_equal_times_and_long_lines_are_read_completely(
    archive: ArchiveUnderTest,
) -> None:
    """More entries at one instant than a page has, and pages that would be too large."""
    rows = [at(yesterday(3), f"equal {n}") for n in range(6000)]
    rows += [at(yesterday(3, seconds=1 + n), f"{n} " + "x" * 1_000_000) for n in range(40)]
    rows += [at(yesterday(3, minutes=5, milliseconds=n), f"after {n}") for n in range(3000)]
    archive.push(rows)
    assert len(archive.stored()) == len(set(rows)) == 9040
    archive.ok("archive", "run")
    assert archive.verify("--deep")["records"] == 9040


def test_streams_without_a_service_are_archived_too(archive: ArchiveUnderTest) -> None:
    """Also those of others, with other labels, each once."""
    moment = int(yesterday(3).timestamp()) * 10**9
    streams = [{"app": "x"}, {"host": "h"}, {"app": "y", "host": "h", "service_name": "s"}]
    answer = requests.post(
        archive.target.url("loki", "/loki/api/v1/push"),
        json={"streams": [{"stream": s, "values": [[str(moment), "text"]]} for s in streams]},
        headers={"X-Scope-OrgID": LOKI_TENANT},
        timeout=10,
    )
    assert answer.status_code == 204, answer.text
    archive.ok("archive", "run")
    assert archive.verify("--deep")["records"] == 3
    assert [json.loads(row)["labels"] for row in archive.stored()] == sorted(
        streams, key=lambda labels: json.dumps(labels)
    )


@pytest.mark.parametrize(
    "variables",
    [{"LOGSTACK_LIMITS__HOT_DISK": "1B", "LOGSTACK_ARCHIVE__LATENESS": "1h"}],
    ids=["1 byte"],
)
def test_above_the_disk_limit_one_day_is_deleted_and_the_next_waits(
    archive: ArchiveUnderTest,
) -> None:
    """The room of a day becomes free hours later; until then no further day has to go."""
    moments = [yesterday(3) - 2 * DAY, yesterday(3), NOW - timedelta(minutes=1)]
    archive.push([at(moment, str(number)) for number, moment in enumerate(moments)])
    oldest = f"{moments[0]:%Y-%m-%d}"
    results = [json.loads(archive.ok("archive", "run", "--json"))["expiry"] for _ in range(2)]
    assert [result["dropped_for_space"] for result in results] == [[oldest], []]
    assert deletions(archive, LOKI_TENANT) == [oldest]
    restart(archive)
    lines = [json.loads(json.loads(row)["line"])["message"] for row in archive.stored()]
    assert lines == ["1", "2"]
    report = archive.verify("--deep")
    assert report["records"] >= 2


def test_doctor_asks_the_running_loki(archive: ArchiveUnderTest) -> None:
    """Retention that is off, or another one, is reported."""
    archive.push([at(NOW - timedelta(minutes=1))])
    result = archive.run("doctor", "--json")
    findings = {item["check"]: item for item in json.loads(result.stdout)}
    assert findings["hot retention"]["ok"], findings["hot retention"]["text"]
    assert findings["lateness"]["ok"]
    config = archive.target.config_dir("loki") / "config.yaml"
    text = config.read_text(encoding="utf-8")
    archive.stop("loki")
    archive.configure(LOGSTACK_RETENTION__HOT_DAYS="2")
    assert text == config.read_text(encoding="utf-8")
    with archive.target.log_file("loki").open("ab") as log:
        archive.processes["loki"] = subprocess.Popen(
            ["loki", f"-config.file={config}"], stdout=log, stderr=log
        )
    archive.wait("loki")
    findings = {item["check"]: item for item in json.loads(archive.run("doctor", "--json").stdout)}
    assert not findings["hot retention"]["ok"]
    assert "expected 5 days, got 4 days" in findings["hot retention"]["text"]
