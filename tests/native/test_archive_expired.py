"""After archive.days: the bucket's lifecycle rule deletes parts, and their manifests stay."""

from __future__ import annotations

import json

import pytest

from stack.archive.engines import reader_of
from stack.archive.format.layout import DAY
from tests.support.archives import (
    ArchiveUnderTest,
    at,
    keys_of,
    yesterday,
)
from tests.support.native_stack import ON_ENGINES
from tests.support.store_proxy import Proxy

pytestmark = [pytest.mark.native, pytest.mark.own_stack, ON_ENGINES]
RANGE = ("--from", "5d", "--to", "now")
ERASE = ("archive", "erase", "--reason", "asked for", "--match")
EXPIRED = "have expired: the archive keeps records for 2 days (archive.days)."
THIRD, FOURTH = yesterday(3) - 2 * DAY, yesterday(4) - 2 * DAY
YOUNG = yesterday(12)


@pytest.fixture
def archive(archive: ArchiveUnderTest) -> ArchiveUnderTest:
    """Two hours that may have expired and one that may not, with two users in each.

    The first hour has a second part with what came late to it.
    """
    hours = (THIRD, FOURTH, YOUNG)
    archive.push(
        [
            at(hour, f"{hour:%H} {user}", user_id=user, request_id=f"r-{hour:%H}-{user}")
            for hour in hours
            for user in (1, 2)
        ]
    )
    archive.ok("archive", "run")
    archive.push([at(THIRD, "late", user_id=1)])
    run_and_look_back(archive)
    archive.configure(LOGSTACK_ARCHIVE__DAYS="2")
    return archive


def run_and_look_back(archive: ArchiveUnderTest) -> None:
    """Also for late records of all days: with Loki, a run does that once a day."""
    archive.archive.save_state(looked_back="")
    archive.ok("archive", "run")


def remove(archive: ArchiveUnderTest, *whats: str) -> list[str]:
    """Remove the objects whose keys contain this, as a lifecycle rule does; their keys."""
    store = archive.store()
    keys = [key for what in whats for key in keys_of(store, what)]
    for key in keys:
        for version in store.versions(key)[key]:
            store.delete(key, version)
    store.close()
    return keys


def search(archive: ArchiveUnderTest, *options: str) -> tuple[list[str], str]:
    """The messages that a search finds, and what it remarks."""
    result = archive.run("archive", "search", *RANGE, "--json", *options)
    assert result.returncode == 0, result.stderr
    return [json.loads(text)["message"] for text in result.stdout.splitlines()], result.stderr


def restored(archive: ArchiveUnderTest) -> list[str]:
    record_of = reader_of(archive.engine_name)
    return [str(record_of(line)["message"]) for line in archive.stored("restored")]


def test_expired_hours_are_passed_over_and_counted(archive: ArchiveUnderTest) -> None:
    """By a search, a restore, its estimate, a hold, an erase and verify."""
    remove(archive, "hr=03/part", "hr=04/part")
    said = f"2 hours of this range {EXPIRED}"
    found, remarks = search(archive)
    assert found == ["12 1", "12 2"]
    assert said in remarks
    found, remarks = search(archive, "--request-id", "r-03-1")
    assert found == []
    assert said in remarks
    planned = archive.run("archive", "restore", *RANGE, "--dry-run", "--json")
    values = json.loads(planned.stdout)
    assert (values["hours"], values["records"], values["expired_hours"]) == (1, 2, 2)
    assert said in planned.stderr
    values = json.loads(archive.ok("archive", "restore", *RANGE, "--json"))
    assert (values["records"], values["expired_hours"]) == (2, 2)
    assert restored(archive) == ["12 1", "12 2"]
    for options in ((), ("--off",)):
        result = archive.run("archive", "hold", *RANGE, *options)
        assert result.returncode == 0, result.stderr
        assert said in result.stderr
        assert "1 part is" in result.stderr
    result = archive.run(*ERASE, "user_id=1", "--json")
    values = json.loads(result.stdout)
    assert (values["records"], values["expired_hours"]) == (1, 2)
    assert said in result.stderr
    report = archive.verify("--deep")
    assert (report["problems"], report["hours_expired"]) == ([], 2)
    assert said in archive.run("archive", "verify").stderr
    assert search(archive)[0] == ["12 2"]


def test_what_is_left_of_an_hour_that_began_to_expire_is_used(archive: ArchiveUnderTest) -> None:
    """Each part has its own time; nothing that is still there is passed over."""
    remove(archive, "hr=03/part-0")
    said = "1 hour of this range has expired"
    found, remarks = search(archive)
    assert found == ["late", "04 1", "04 2", "12 1", "12 2"]
    assert said in remarks
    archive.ok("archive", "restore", *RANGE)
    assert restored(archive) == found
    result = json.loads(archive.ok(*ERASE, "user_id=1", "--json"))
    assert (result["records"], result["hours"], result["expired_hours"]) == (3, 3, 1)
    assert search(archive)[0] == ["04 2", "12 2"]
    assert archive.verify("--deep")["problems"] == []


def test_a_range_that_has_not_expired_reports_no_expiry(archive: ArchiveUnderTest) -> None:
    """Being old is not enough: every part is still there."""
    found, remarks = search(archive)
    assert len(found) == 7
    assert "expired" not in remarks
    remove(archive, "hr=03/part")
    young = f"{YOUNG:%Y-%m-%dT%H}:00Z"
    result = archive.run("archive", "search", "--from", young, "--to", "now")
    assert "expired" not in result.stderr


def test_a_part_that_is_missing_before_its_time_stays_an_error(archive: ArchiveUnderTest) -> None:
    """It is named, although others have expired; an erase changes nothing."""
    remove(archive, "hr=03/part", "hr=04/part")
    [key] = remove(archive, "hr=12/part")
    hold = ("archive", "hold", *RANGE)
    for command in (
        ("archive", "search", *RANGE),
        ("archive", "restore", *RANGE),
        (*ERASE, "user_id=1"),
        hold,
        (*hold, "--off"),
    ):
        result = archive.run(*command)
        assert result.returncode == 1, command
        assert key in " ".join(result.stderr.split()), command
    assert archive.problems() == archive.problems("--deep") == {("part-missing", key)}
    assert restored(archive) == []


def test_an_expired_part_that_is_still_listed_is_passed_over(archive: ArchiveUnderTest) -> None:
    """Listings may lag behind what the lifecycle rule has removed."""
    proxy = Proxy(archive.target.url("seaweedfs"), "404 NoSuchKey", "hr%3D03/part")
    archive.configure(LOGSTACK_ARCHIVE__ENDPOINT=f"http://127.0.0.1:{proxy.server_port}")
    try:
        found, remarks = search(archive, "--match", "user_id=1")
        result = archive.run(*ERASE, "user_id=1", "--json")
        assert archive.verify("--deep")["problems"] == []
    finally:
        proxy.stop()
        archive.configure(LOGSTACK_ARCHIVE__ENDPOINT="")
    assert found == ["04 1", "12 1"]
    assert "1 hour of this range has expired" in remarks
    values = json.loads(result.stdout)
    assert (values["records"], values["expired_hours"]) == (2, 1)


def test_what_comes_late_to_an_expired_hour_is_archived(archive: ArchiveUnderTest) -> None:
    """With all that the engine has of the hour: the expired part cannot be compared any more."""
    remove(archive, "hr=03/part")
    archive.push([at(THIRD, "later still", user_id=2)])
    run_and_look_back(archive)
    assert search(archive)[0][:4] == ["03 1", "03 2", "late", "later still"]
    report = archive.verify("--deep")
    assert report["problems"] == []
    assert json.loads(archive.ok("archive", "run", "--json"))["exported"]["records"] == 0
