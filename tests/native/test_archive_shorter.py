"""Records that are deleted before their day, once they are verified: retention.shorter."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stack.archive import failpoints
from stack.archive.format.layout import DAY
from tests.support.archives import ArchiveUnderTest, at, yesterday
from tests.support.native_stack import ON_ENGINES, poll

# Deletions that are under way in a shared engine would hit the records of the next test.
pytestmark = [pytest.mark.native, pytest.mark.own_stack, pytest.mark.own_engine, ON_ENGINES]
OLD = yesterday(3) - DAY
SHORTER = '[{service = "noisy", level = "DEBUG", days = 1}, {level = "CRITICAL", days = 20}]'

VARIABLES = {"LOGSTACK_RETENTION__SHORTER": SHORTER, "LOGSTACK_ARCHIVE__LATENESS": "1h"}


@pytest.fixture
def archive(archive: ArchiveUnderTest) -> ArchiveUnderTest:
    """DEBUG of one service is deleted after a day; records of two days ago, and of yesterday."""
    noisy = {"service_name": "noisy", "level": "DEBUG"}
    archive.push(
        [
            *(at(OLD, f"old noise {n}", **noisy) for n in range(3)),
            at(OLD, "no noise", service_name="noisy", level="INFO"),
            at(OLD, "other noise", level="DEBUG"),
            at(OLD, "grave", level="CRITICAL"),
            at(yesterday(3), "young noise", **noisy),
        ]
    )
    return archive


def expiry(archive: ArchiveUnderTest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(archive.ok("archive", "run", "--json"))["expiry"]
    return found


def messages(archive: ArchiveUnderTest) -> list[str]:
    """What the engine shows. Loki is restarted: it caches deletions for minutes."""
    if archive.engine_name == "loki":
        archive.stop("loki")
        archive.start("loki")
        texts = [json.loads(row)["line"] for row in archive.stored()]
        return sorted(json.loads(text)["message"] for text in texts)
    return sorted(json.loads(row)["line"] for row in archive.stored())


def test_they_are_deleted_once_and_the_archive_keeps_them(archive: ArchiveUnderTest) -> None:
    """Verify expects their absence, they are counted, and a restore restores them."""
    before = archive.stored()
    killed = archive.run("archive", "run", extra={failpoints.VARIABLE: "records-due"})
    assert killed.returncode == -9, killed.stderr
    assert expiry(archive)["shortened"] == {f"{OLD:%Y-%m-%d}": 3}
    left = ["grave", "no noise", "other noise", "young noise"]
    poll(lambda: messages(archive) == left, lambda: str(messages(archive)), timeout=60)
    report = archive.verify("--deep")
    assert report["ok"], report["problems"]
    assert report["records"] == len(before) == 7
    again = expiry(archive)
    assert again["shortened"] == again["blocked"] == {}
    assert expiry(archive)["shortened"] == {}
    events = archive.target.archiver_log_file.read_text(encoding="utf-8").splitlines()
    [event] = [item for item in map(json.loads, events) if "dropped_records" in item]
    assert (event["event_type"], event["dropped_records"]) == ("archive_records_dropped", 3)
    archive.ok("archive", "restore", "--from", "4d", "--to", "now")
    assert archive.stored("restored") == before


def test_others_that_are_missing_are_still_a_fault(archive: ArchiveUnderTest) -> None:
    """Only what the rules name may be missing, and only of the days that were shortened."""
    expiry(archive)
    state = archive.target.data_dir / "archive" / "state.json"
    values = json.loads(state.read_text(encoding="utf-8"))
    left = ["grave", "no noise", "other noise", "young noise"]
    poll(lambda: messages(archive) == left, lambda: str(messages(archive)), timeout=60)
    assert archive.verify()["ok"]
    state.write_text(json.dumps({**values, "shortened": {}}), encoding="utf-8")
    assert {kind for kind, _ in archive.problems()} == {"engine-counts"}


def test_records_of_a_day_that_is_not_verified_stay(archive: ArchiveUnderTest) -> None:
    """However old they are."""
    killed = archive.run("archive", "run", extra={failpoints.VARIABLE: "manifest-uploaded"})
    assert killed.returncode == -9
    store = archive.store()
    [key] = [item.key for item in store.listing("v1/") if "/part-" in item.key]
    for version in store.versions(key)[key]:
        store.delete(key, version)
    store.close()
    assert expiry(archive)["shortened"] == {}
    assert len(messages(archive)) == 7


def test_doctor_shows_the_rules_and_asks_the_engine(archive: ArchiveUnderTest) -> None:
    """Whether it can delete at all: VictoriaLogs needs a flag for that."""

    def finding() -> dict[str, Any]:
        found = json.loads(archive.run("doctor", "--json").stdout)
        [item] = [item for item in found if item["check"] == "shorter retention"]
        return dict(item)

    expiry(archive)
    assert finding()["ok"]
    assert "DEBUG of noisy after 1 day, CRITICAL after 20 days" in finding()["text"]
    assert "so far on 1 day" in finding()["text"]
    if archive.engine_name == "victorialogs":
        archive.stop("victorialogs")
        archive.start("victorialogs", extra=["-delete.enable=false"])
        assert not finding()["ok"]
