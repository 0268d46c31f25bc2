"""The life of a store, whose clock is passed in: what expires, comes late, is erased or held.

400 days with the settings as they are, apart from the lock of each part, whose end is by the
store's clock. The records are of the last 400 days, because engine and store have clocks of their
own.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from stack.archive import service
from stack.archive.engines import reader_of
from stack.archive.format.layout import DAY
from tests.support.archives import TODAY, ArchiveUnderTest, at

pytestmark = [pytest.mark.native, pytest.mark.own_stack, pytest.mark.own_engine]
VARIABLES = {"LOGSTACK_ARCHIVE__LOCK": "none"}
DAYS, STEP = 400, 20
KEPT, HOT = 365, 30
PERSON, ERASED_ON, HELD, RESTORED = 7, 100, 10, 20
LATE = range(80, DAYS, 80)
VERIFIED = (200,)
FIRST = TODAY - DAYS * DAY


def day(number: int) -> datetime:
    return FIRST + number * DAY


def rows(number: int) -> list[bytes]:
    """Of a day: one of user 1, one of the person, and one of the next hour."""
    moment = day(number) + timedelta(hours=9)
    return [
        at(moment, f"day {number}", user_id=1),
        at(moment, f"person {number}", user_id=PERSON),
        at(moment + timedelta(hours=1), f"hour {number}", user_id=2),
    ]


def run_at(archive: ArchiveUnderTest, moment: datetime) -> service.RunResult:
    archive.now = moment
    view = archive.archive
    try:
        return service.run(view)
    finally:
        view.store.close()


def messages(archive: ArchiveUnderTest, *options: str) -> set[str]:
    printed = archive.ok("archive", "search", "--from", "500d", "-n", "9999", "--json", *options)
    return {json.loads(text)["message"] for text in printed.splitlines()}


def until(number: int) -> list[str]:
    return ["--from", f"{day(number):%Y-%m-%d}", "--to", f"{day(number + 1):%Y-%m-%d}"]


def restored(archive: ArchiveUnderTest, number: int) -> list[str]:
    archive.ok("archive", "restore", *until(number))
    record_of = reader_of("victorialogs")
    return [str(record_of(line)["message"]) for line in archive.stored("restored")]


@pytest.mark.timeout(1800)
def test_every_record_is_where_it_belongs_after_400_days(archive: ArchiveUnderTest) -> None:
    """Every record is where it belongs at the end, and every command works on all of it."""
    archive.stop("victorialogs")
    archive.start("victorialogs", extra=["-maxBackfillAge=0", "-retentionPeriod=100y"])
    store = archive.store()
    store.admin.create_bucket(  # with a lock, without which nothing can be held
        Bucket=store.access.bucket, ObjectLockEnabledForBucket=True
    )
    store.close()
    expired_parts = 0
    for number in range(0, DAYS, STEP):
        archive.push(row for each in range(number, number + STEP) for row in rows(each))
        if number in LATE:  # some days late, for an hour that is archived
            archive.push([at(day(number - 1) + timedelta(hours=9, minutes=1), f"late {number}")])
        result = run_at(archive, day(number + STEP) + timedelta(hours=1))
        expired_parts += result.expiry.expired_parts
        assert result.expiry.blocked == {}
        assert result.expiry.unverified == {}
        if number + STEP == ERASED_ON:
            archive.ok("archive", "erase", "--match", f"user_id={PERSON}", "--reason", "asked for")
            archive.ok("archive", "hold", *until(HELD))
        if number + STEP in VERIFIED:
            assert archive.verify("--deep")["problems"] == []
        if number + STEP == 2 * ERASED_ON:
            assert restored(archive, RESTORED) == [f"day {RESTORED}", f"hour {RESTORED}"]

    gone = DAYS - KEPT  # days whose parts have expired, but for the one that is held
    kept = {HELD, *range(gone, DAYS)}
    expected = {f"{what} {number}" for number in kept for what in ("day", "hour")}
    expected |= {f"person {number}" for number in range(ERASED_ON, DAYS)}
    expected |= {f"late {number}" for number in LATE}
    assert messages(archive) == expected
    assert expired_parts == 2 * (gone - 1)
    report = archive.verify("--deep")
    assert report["problems"] == []
    assert report["hours_expired"] == 2 * (gone - 1)
    in_engine = {json.loads(line)["line"] for line in archive.stored()}
    assert f"day {DAYS - HOT}" in in_engine
    assert f"day {DAYS - HOT - 2}" not in in_engine
    for check in ("expiry", "gate", "archive is current"):
        found_by_doctor = archive.findings()[check]
        assert found_by_doctor["ok"], found_by_doctor

    # After the first expiry every command still works, with expired hours among others.
    erase = ("archive", "erase", "--match", "user_id=2", "--reason", "asked for")
    refused = archive.run(*erase)
    assert refused.returncode == 1
    assert "under a legal hold" in refused.stderr
    archive.ok("archive", "hold", *until(HELD), "--off")
    archive.push([at(day(DAYS - 2) + timedelta(hours=9), "late at the end")])
    run_at(archive, day(DAYS) + timedelta(hours=2))
    assert "late at the end" in messages(archive)
    assert f"day {HELD}" not in messages(archive)
    archive.ok(*erase)
    assert not {text for text in messages(archive) if text.startswith("hour")}
    assert archive.verify("--deep")["problems"] == []
