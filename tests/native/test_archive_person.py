"""A person is erased as a whole: with name and sessions, in the archive and in both engines."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from stack.archive.engines import reader_of
from stack.archive.format.layout import DAY, HOUR
from tests.support.archives import NOW, ArchiveUnderTest, at, yesterday

pytestmark = [
    pytest.mark.native,
    pytest.mark.own_engine,
    pytest.mark.xdist_group("person"),
]
VARIABLES = {"LOGSTACK_RETENTION__ALLOW_DELETE": "true"}
ERASE = ("archive", "erase", "--person", "user_id=7", "--reason", "asked for")
OF_ANNA: list[tuple[str, dict[str, Any]]] = [
    ("answered", {"user_id": 7, "username": "anna", "session_id": "a1b2c3"}),
    ("login failed", {"username": "anna"}),
    ("seen before the login", {"session_id": "a1b2c3"}),
    ("at the kiosk", {"user_id": 7, "session_id": "kiosk1"}),
]
OF_OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("bob answered", {"user_id": 8, "username": "bob", "session_id": "b1b2c3"}),
    ("bob at the kiosk", {"user_id": 8, "session_id": "kiosk1"}),
    ("somebody at the kiosk", {"session_id": "kiosk1"}),
    ("user 77", {"user_id": 77}),
]


def push(archive: ArchiveUnderTest, hour: int) -> None:
    archive.push(
        at(yesterday(hour, minutes=number), text, **fields)
        for number, (text, fields) in enumerate((*OF_ANNA, *OF_OTHERS))
    )


def found(archive: ArchiveUnderTest) -> list[str]:
    printed = archive.ok("archive", "search", "--from", "20d", "--json")
    return [json.loads(line)["message"] for line in printed.splitlines()]


def in_engine(archive: ArchiveUnderTest, port: str) -> list[str]:
    record_of = reader_of(archive.engine_name)
    return [str(record_of(line)["message"]) for line in archive.stored(port)]


def test_a_person_is_erased_with_names_and_sessions(archive: ArchiveUnderTest) -> None:
    """Of what others share nothing is erased; later records of the person are archived."""
    push(archive, 3)
    archive.ok("archive", "run")
    archive.ok("archive", "restore", "--from", "2d", "--to", "now")
    push(archive, 4)  # not archived yet
    everything = in_engine(archive, "victorialogs")
    shown = archive.run(*ERASE)
    assert shown.returncode == 1
    for text in ("user_id=7", "username=anna", "session_id=a1b2c3"):
        assert f"{text}: 4 records" in shown.stderr
    assert "session_id=kiosk1: others have it, too" in shown.stderr
    assert "Run: ./logstack archive erase ... --yes" in shown.stderr
    assert in_engine(archive, "victorialogs") == everything

    result = json.loads(archive.ok(*ERASE, "--yes", "--json"))
    of_others = [text for text, _ in OF_OTHERS]
    assert result["records"] == 2 * len(OF_ANNA)
    assert set(result["engines"].values()) == {""}
    assert found(archive) == [*of_others, *of_others]
    assert in_engine(archive, "victorialogs") == [*of_others, *of_others]
    assert in_engine(archive, "restored") == of_others
    assert archive.verify("--deep")["problems"] == []
    [first, second] = json.loads(archive.ok("archive", "erasures", "--json"))
    assert first["field"] == "session_id, user_id, username"
    assert second["field"] == "user_id"

    archive.now = NOW + 2 * HOUR
    archive.push([at(NOW + timedelta(minutes=5), "new", user_id=7, session_id="a1b2c3")])
    assert "Archived 1 record of" in archive.ok("archive", "run")
    assert found(archive) == [*of_others, *of_others, "new"]


def test_late_records_of_an_hour_with_erased_ones_are_archived(archive: ArchiveUnderTest) -> None:
    """There may be as many as were erased in archive and engine, so that no count differs."""
    push(archive, 4)
    archive.ok(*ERASE, "--yes")
    archive.push([at(yesterday(4, minutes=50), "late", user_id=8)])
    archive.push([at(yesterday(4, minutes=51), "late", session_id="a1b2c3")])
    archive.now = NOW + 9 * DAY  # the day is final, and verified
    archive.ok("archive", "run")
    assert found(archive) == [*(text for text, _ in OF_OTHERS), "late"]
    assert archive.findings()["gate"]["ok"]
