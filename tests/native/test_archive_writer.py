"""An exporter with the writer's key alone: it can neither read what it stores nor delete it."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from stack.archive import failpoints
from stack.archive.format.layout import DAY
from stack.archive.storage import bucket
from stack.settings.secrets import STORE_KEYS, local_store_secrets
from tests.support.archives import (
    NOW,
    SHORT_LIVED,
    ArchiveUnderTest,
    at,
    mixed_day,
    yesterday,
)
from tests.support.native_stack import ON_ENGINES
from tests.support.store_proxy import Proxy

pytestmark = [pytest.mark.native, pytest.mark.own_stack, ON_ENGINES]
WITH_READER = "LOGSTACK_ARCHIVE_READER=key:secret ./logstack archive run"


@pytest.fixture
def archive(archive: ArchiveUnderTest) -> ArchiveUnderTest:
    """The bucket is there; everything else is the exporter's."""
    set_up(archive)
    return archive


def set_up(archive: ArchiveUnderTest) -> None:
    view = archive.archive
    bucket.prepare(view.store, view.settings.archive)
    view.store.close()


def keys(archive: ArchiveUnderTest, *roles: str) -> dict[str, str]:
    """The local store's keys of these roles as variables; the others are then not there."""
    held = local_store_secrets(archive.target.data_dir, {})
    return {name: held[name] for name in STORE_KEYS if name.rpartition("_")[2].lower() in roles}


def export(archive: ArchiveUnderTest, *options: str) -> dict[str, int]:
    """What a run with the writer's key alone did."""
    printed = archive.ok("archive", "run", "--json", *options, extra=keys(archive, "writer"))
    found: dict[str, int] = json.loads(printed)["exported"]
    return found


def refused(archive: ArchiveUnderTest) -> CompletedProcess[str]:
    """A run with the writer's key alone that fails and prints the command to run."""
    result = archive.run("archive", "run", extra=keys(archive, "writer"))
    assert result.returncode == 1, result.stdout
    assert "Traceback" not in result.stderr
    assert WITH_READER in " ".join(result.stderr.split())
    return result


def with_reader(archive: ArchiveUnderTest) -> None:
    archive.ok("archive", "run", extra=keys(archive, "writer", "reader"))


def copies(archive: ArchiveUnderTest) -> Path:
    return archive.target.data_dir / "archive" / "copies"


def test_a_day_is_archived_once_and_comes_back(archive: ArchiveUnderTest) -> None:
    """With the reader's key it is complete; the exporter did not have that key."""
    archive.push(mixed_day())
    before = archive.stored()
    assert export(archive)["records"] == len(before)
    assert export(archive)["hours"] == 0
    report = archive.verify("--deep")
    assert report["ok"], report["problems"]
    assert report["notes"] == []
    archive.ok("archive", "restore", "--from", "4d", "--to", "now")
    assert archive.stored("restored") == before
    for command in ("verify", "search"):
        result = archive.run("archive", command, extra=keys(archive, "writer"))
        assert result.returncode == 1
        assert "the reader's key" in result.stderr


def test_late_records_and_the_current_hour_are_archived_once(archive: ArchiveUnderTest) -> None:
    """What the archive has of an hour is known from the copies; they hold nothing else."""
    archive.push([at(yesterday(3), f"in time {n}") for n in range(3)])
    export(archive)
    archive.push([at(yesterday(3, minutes=1), "late"), at(yesterday(3, minutes=2), "in time 1")])
    assert export(archive)["records"] == 2
    moment = NOW - timedelta(seconds=20)
    archive.push([at(moment, "one")])
    assert export(archive, "--now")["records"] == 1
    archive.push([at(moment + timedelta(seconds=1), "two")])
    assert export(archive, "--now")["records"] == 1
    report = archive.verify("--deep")
    assert report["ok"], report["problems"]
    assert report["records"] == report["parts"] + 3 == 7
    assert len(list(copies(archive).iterdir())) == report["parts"]


def test_without_a_copy_late_records_wait_for_the_readers_key(archive: ArchiveUnderTest) -> None:
    """The hour is named, other hours are archived all the same, and nothing is lost."""
    archive.push([at(yesterday(hour), "in time") for hour in (3, 4)])
    export(archive)
    [third, fourth] = sorted(copies(archive).iterdir())
    third.unlink()
    fourth.write_bytes(b"damaged")
    archive.push([at(yesterday(hour, minutes=1), "late") for hour in (3, 4, 5)])
    text = " ".join(refused(archive).stderr.split())
    assert f"{yesterday(3):%Y-%m-%dT%H}:00:00Z: cannot archive late records" in text
    assert f"{yesterday(4):%Y-%m-%dT%H}:00:00Z: cannot archive late records" in text
    assert "The engine still has the records" in text
    assert archive.verify("--deep")["records"] == 3
    with_reader(archive)
    report = archive.verify("--deep")
    assert report["ok"], report["problems"]
    assert report["records"] == 5
    assert export(archive)["hours"] == 0


def test_another_exporters_manifest_is_read_once_with_the_readers_key(
    archive: ArchiveUnderTest,
) -> None:
    """It can neither be read nor overwritten: the text gives the command to run."""
    archive.push([at(yesterday(3))])
    export(archive)
    folder = archive.target.data_dir / "archive"
    shutil.copytree(folder, folder.with_name("before"))
    archive.push([at(yesterday(3, minutes=1), "late")])
    with_reader(archive)
    shutil.rmtree(folder)
    folder.with_name("before").rename(folder)  # as if another machine had done it
    archive.push([at(yesterday(3, minutes=2), "later")])
    assert "another exporter" in refused(archive).stderr
    with_reader(archive)
    assert export(archive)["hours"] == 0
    report = archive.verify("--deep")
    assert report["ok"], report["problems"]
    assert report["records"] == 3


@pytest.mark.parametrize("name", failpoints.EXPORT)
def test_an_export_killed_anywhere_continues(archive: ArchiveUnderTest, name: str) -> None:
    """By itself, unless a manifest is stored of which this machine does not know."""
    archive.push([at(yesterday(hour), f"{hour}") for hour in (3, 4)])
    extra = {**keys(archive, "writer"), failpoints.VARIABLE: name}
    killed = archive.run("archive", "run", extra=extra)
    assert killed.returncode == -9, killed.stderr
    if name == "manifest-stored":
        refused(archive)
        with_reader(archive)
    export(archive)
    assert export(archive)["hours"] == 0
    report = archive.verify("--deep")
    assert report["ok"], report["problems"]
    assert report["records"] == 2
    assert {note["kind"] for note in report["notes"]} <= {"part-orphaned"}


def test_a_store_that_confirms_no_hash_is_not_trusted(archive: ArchiveUnderTest) -> None:
    """Nothing else would prove an upload."""
    archive.push([at(yesterday(3))])
    proxy = Proxy(archive.target.url("seaweedfs"), "no checksum")
    archive.configure(LOGSTACK_ARCHIVE__ENDPOINT=f"http://127.0.0.1:{proxy.server_port}")
    try:
        assert "got none" in refused(archive).stderr
    finally:
        proxy.stop()
        archive.configure(LOGSTACK_ARCHIVE__ENDPOINT="")
    assert export(archive)["records"] == 1


@pytest.mark.parametrize("variables", [SHORT_LIVED], ids=["short-lived"])
def test_days_are_deleted_after_a_run_with_the_readers_key(archive: ArchiveUnderTest) -> None:
    """Until then they stay, and the run and doctor give the command to run."""
    old = f"{yesterday() - 2 * DAY:%Y-%m-%d}"
    archive.push([at(yesterday(3) - 2 * DAY, "old"), at(yesterday(3), "young")])
    writer = keys(archive, "writer")
    expiry = json.loads(archive.ok("archive", "run", "--json", extra=writer))["expiry"]
    assert expiry["dropped"] == []
    assert WITH_READER in expiry["blocked"][old][0]
    found = json.loads(archive.run("doctor", "--json", extra=writer).stdout)
    [gate] = [item for item in found if item["check"] == "gate"]
    assert (gate["ok"], gate["command"]) == (False, WITH_READER)
    both = keys(archive, "writer", "reader")
    expiry = json.loads(archive.ok("archive", "run", "--json", extra=both))["expiry"]
    assert expiry["dropped"] == [old]
