"""Hours into the archive and back, against real engines and a real SeaweedFS."""

from __future__ import annotations

import json
import select
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import psutil
import pytest

from stack.archive import export, failpoints
from stack.archive.format import layout, lines
from stack.archive.format.layout import hour_of
from stack.archive.storage.parts import fetch_lines
from tests.support.archives import (
    NOW,
    ArchiveUnderTest,
    SharedStore,
    at,
    mixed_day,
    running_archive,
    yesterday,
)
from tests.support.native_stack import ON_ENGINES, Combination
from tests.support.terminal import interrupt

pytestmark = [pytest.mark.native, pytest.mark.own_stack, ON_ENGINES]


@pytest.fixture(scope="module")
def day(
    tmp_path_factory: pytest.TempPathFactory,
    binaries: None,
    shared_store: SharedStore,
    combination: Combination,
) -> Iterator[ArchiveUnderTest]:
    """A mixed day, archived; for tests that change nothing."""
    folder = tmp_path_factory.mktemp("day")
    with running_archive(folder, shared_store, combination.variables, own_engine=True) as started:
        started.push(mixed_day())
        started.ok("archive", "run")
        yield started


@pytest.mark.own_engine
def test_a_mixed_day_comes_back_byte_by_byte(archive: ArchiveUnderTest) -> None:
    """Archive, wipe the engine, restore: every record is there once, with its very bytes."""
    archive.push(mixed_day())
    before = archive.stored()
    assert len(before) == archive.kept(mixed_day())
    archive.ok("archive", "run")
    assert archive.verify("--deep")["ok"]
    archive.lose_everything()
    archive.ok("archive", "restore", "--from", "4d", "--to", "now")
    assert archive.stored("restored") == before


def test_parts_hold_the_engines_records_in_order(day: ArchiveUnderTest) -> None:
    """The parts of all hours together are what the engine has, and nothing else."""
    archive = day.archive
    found = [
        line
        for hour in archive.ledger().hours.values()
        for part in hour.parts.values()
        for line in fetch_lines(archive.store, part, archive.work)
    ]
    archive.store.close()
    assert sorted(found) == day.stored()
    assert [lines.timestamp(line) for line in sorted(found)] == sorted(
        lines.timestamp(line) for line in found
    )


def test_a_second_run_adds_nothing(day: ArchiveUnderTest) -> None:
    """Neither a manifest nor an object."""
    before = day.verify()
    assert json.loads(day.ok("archive", "run", "--json"))["exported"]["hours"] == 0
    after = day.verify()
    assert before == after
    assert after["notes"] == []


def test_every_hour_up_to_now_has_a_manifest(day: ArchiveUnderTest) -> None:
    """Also hours without records: their absence would look like a loss."""
    archive = day.archive
    hours = archive.ledger().hours
    archive.store.close()
    assert sorted(hours) == list(layout.hours(yesterday(), hour_of(NOW)))


def test_late_records_get_a_further_part(archive: ArchiveUnderTest) -> None:
    """The hour's first part stays as it was; the new one holds the late records alone."""
    archive.push([at(yesterday(3), f"in time {n}") for n in range(3)])
    archive.ok("archive", "run")
    archive.push([at(yesterday(3, minutes=2), "in time 1"), at(yesterday(3, minutes=1), "late")])
    assert [note["kind"] for note in archive.verify()["notes"]] == ["late-records"]
    result = json.loads(archive.ok("archive", "run", "--json"))["exported"]
    assert (result["hours"], result["late_hours"], result["records"]) == (1, 1, 2)
    assert archive.verify("--deep")["records"] == 5
    view = archive.archive
    parts = view.ledger().hours[yesterday(3)].parts.values()
    view.store.close()
    assert [part.records for part in parts] == [3, 2]


def test_a_record_earlier_than_the_first_archived_hour_is_archived(
    archive: ArchiveUnderTest,
) -> None:
    """It arrives late, and nothing between it and the first hour is left out."""
    archive.push([at(yesterday(12))])
    archive.ok("archive", "run")
    archive.push([at(yesterday(9), "earlier")])
    archive.ok("archive", "run")
    report = archive.verify("--deep")
    assert report["ok"], report["problems"]
    assert report["records"] == 2


def test_the_current_hour_is_archived_with_now(archive: ArchiveUnderTest) -> None:
    """And again, with what came since, in a further part."""
    moment = NOW - timedelta(seconds=20)
    archive.push([at(moment, "one")])
    archive.ok("archive", "run", "--now")
    assert archive.verify("--deep")["records"] == 1
    archive.push([at(moment + timedelta(seconds=1), "two")])
    archive.ok("archive", "run", "--now")
    assert archive.verify("--deep")["records"] == 2


def test_an_hour_that_is_completed_is_not_late(archive: ArchiveUnderTest) -> None:
    """Its first half was archived while it was the current hour."""
    archive.push([at(yesterday(3)), at(yesterday(3, minutes=40))])
    view = archive.archive
    result = export.Exported()
    try:
        view.prepare()
        ledger = view.ledger()
        for until in (yesterday(3, minutes=30), yesterday(4)):
            export.export_hour(view, ledger, yesterday(3), until, result)
    finally:
        view.store.close()
    assert (result.hours, result.late_hours, result.records) == (2, 0, 2)


@pytest.mark.parametrize(
    "variables",
    [{"LOGSTACK_ARCHIVE__OWN_PART": "100", "LOGSTACK_ARCHIVE__PART": "64KiB"}],
    ids=["small parts"],
)
def test_a_large_service_has_own_parts(archive: ArchiveUnderTest) -> None:
    """Restoring it reads no other service's records; small services share a part."""
    rows = [at(yesterday(3, seconds=n), "x" * 500, service_name="large") for n in range(300)]
    rows += [at(yesterday(3), service_name=f"small-{n}") for n in range(5)]
    archive.push(rows)
    archive.ok("archive", "run")
    view = archive.archive
    parts = view.ledger().hours[yesterday(3)].parts.values()
    view.store.close()
    assert {part.services for part in parts} == {
        ("large",),
        ("small-0", "small-1", "small-2", "small-3", "small-4"),
    }
    assert len(parts) > 3
    day = f"{yesterday():%Y-%m-%d}T00:00+00:00"
    archive.ok("archive", "restore", "--from", day, "--to", "now", "--service", "large")
    assert len(archive.stored("restored")) == 300
    archive.ok("archive", "restore", "--from", day, "--to", "now")
    assert archive.stored("restored") == archive.stored()
    assert archive.verify("--deep")["ok"]


@pytest.mark.parametrize("name", failpoints.EXPORT)
def test_an_export_killed_anywhere_is_finished_by_the_next(
    archive: ArchiveUnderTest, name: str
) -> None:
    """No record is missing and none is there twice, wherever the process died."""
    archive.push([at(yesterday(hour), f"{hour}") for hour in (3, 4)])
    killed = archive.run("archive", "run", extra={failpoints.VARIABLE: name})
    assert killed.returncode == -9, killed.stderr
    archive.ok("archive", "run")
    report = archive.verify("--deep")
    assert report["ok"], report["problems"]
    assert report["records"] == 2
    archive.ok("archive", "restore", "--from", "4d", "--to", "now")
    assert archive.stored("restored") == archive.stored()


@pytest.mark.parametrize("name", failpoints.RESTORE)
def test_a_restore_killed_anywhere_is_finished_by_the_next(
    archive: ArchiveUnderTest, name: str
) -> None:
    """No record is missing and none is there twice."""
    archive.push([at(yesterday(hour), f"{hour} {n}") for hour in (3, 4) for n in range(2000)])
    archive.ok("archive", "run")
    command = ("archive", "restore", "--from", "4d", "--to", "now")
    killed = archive.run(*command, extra={failpoints.VARIABLE: name})
    assert killed.returncode == -9, killed.stderr
    archive.ok(*command)
    assert archive.stored("restored") == archive.stored()


@pytest.mark.parametrize("same_machine", [True, False], ids=["one machine", "two machines"])
def test_two_exporters_at_once_archive_every_record_once(
    archive: ArchiveUnderTest, same_machine: bool
) -> None:
    """They wait for each other on one machine; of two machines the store accepts one manifest."""
    archive.push(mixed_day())
    other = dict(archive.environ)
    if not same_machine:
        folder = archive.folder / "second data"
        (folder / "native").mkdir(parents=True)
        secrets = archive.target.data_dir / "secrets.json"
        copy = folder / "native" / "secrets.json"
        copy.write_bytes(secrets.read_bytes())
        copy.chmod(0o600)
        other["LOGSTACK_PATHS__DATA"] = str(folder)
        other["LOGSTACK_PATHS__RUN"] = str(archive.folder / "second run")
    running = [
        subprocess.Popen(
            archive.argv("archive", "run"),
            env=environ,
            cwd=archive.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for environ in (archive.environ, other)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(outputs)
    report = archive.verify("--deep")
    assert report["ok"], report["problems"]
    assert report["records"] == archive.kept(mixed_day())
    assert report["manifests"] == report["hours"]


def test_search_finds_what_the_engine_finds(day: ArchiveUnderTest) -> None:
    """By request, level, text, field and time, as records like those of `logstack logs`."""
    searches = [
        (("--request-id", "r-7-3"), 1),
        (("--level", "ERROR"), 24),
        (("--grep", "ValueError"), 24),
        (("--grep", "^plain [12]$", "--service", "erp-backend-api"), 48),
        (("--service", "billing"), 24),
        (("--match", "user_id=x y"), 24),
        (("--match", 'nested.a.b=[1,{"c":null}]'), 24),
        (("--match", "user_id=no such"), 0),
    ]
    span = ("--from", "4d", "--to", "now", "-n", "10000", "--json")
    logs = ("--since", "4d", "--until", "now", "-n", "10000", "--json")
    for options, count in searches:
        printed = day.ok("archive", "search", *span, *options)
        found = [json.loads(text) for text in printed.splitlines()]
        assert len(found) == count, options
        assert found == sorted(found, key=lambda item: item["timestamp"])
        if options[0] != "--match":
            expected = [json.loads(text) for text in day.ok("logs", *logs, *options).splitlines()]
            assert sorted(map(str, found)) == sorted(map(str, expected)), options


def test_search_prints_records_as_logs_does(day: ArchiveUnderTest) -> None:
    """As JSON with escapes for what would drive a terminal, and no error for `| head`."""
    span = ("--from", "4d", "--to", "now", "--json", "--grep", "^control")
    printed = day.ok("archive", "search", *span)
    assert len(printed.splitlines()) == printed.count("\n") == 24  # U+2028 would end a line
    assert [text for text in printed if text in "\x00\x1b\x9b\u2028"] == []
    search = shlex.join(day.argv("archive", "search", "--from", "4d", "--to", "now"))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {search} | head -1"],
        env=day.environ,
        capture_output=True,
        text=True,
        check=False,
        cwd=day.folder,
        timeout=60,
    )
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    remarks = done.stderr.splitlines()
    assert [text for text in remarks if not text.startswith("search: ")] == []  # its progress


def test_ctrl_c_ends_a_search(day: ArchiveUnderTest) -> None:
    """In the middle of a record, while others are read ahead."""
    status, printed = interrupt(day, b"plain", "archive", "search", "--from", "4d", "-n", "100000")
    assert status == 130, printed[-2000:]
    assert "KeyboardInterrupt" not in printed
    assert "search.py" not in printed


def test_a_hold_of_nothing_is_a_failure(day: ArchiveUnderTest) -> None:
    """Otherwise an operator believes that the records are protected."""
    result = day.run("archive", "hold", "--from", "2020-01-01", "--to", "2020-01-02")
    assert result.returncode == 1
    assert "cannot hold parts from 2020-01-01 to 2020-01-02: there are none" in result.stderr
    assert "./logstack archive run --now" in result.stderr


def test_memory_stays_bounded_whatever_an_hour_holds(archive: ArchiveUnderTest) -> None:
    """An hour of 200 MB goes through less than that: it is sorted on disk."""
    archive.start_restored()
    for batch in range(10):
        text = f"{batch} " + "abcdefghij" * 200
        rows = (at(yesterday(3, milliseconds=n), f"{n} {text}") for n in range(9000))
        archive.push(rows)
    for command in (("run",), ("restore", "--from", "4d", "--to", "now")):
        process = psutil.Popen(
            archive.argv("archive", *command), env=archive.environ, cwd=archive.folder
        )
        peak = 0
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                peak = max(peak, process.memory_info().rss)
            time.sleep(0.01)
        assert process.wait() == 0
        assert 20e6 < peak < 200e6, f"{command[0]}: {peak / 1e6:.0f} MB"
    peak = peak_of_a_search_for_everything(archive)
    assert 20e6 < peak < 200e6, f"search: {peak / 1e6:.0f} MB"
    assert archive.verify("--deep")["records"] == 90_000


def peak_of_a_search_for_everything(archive: ArchiveUnderTest) -> int:
    """Resident bytes of `archive search | head -n 1`, by when the parts at hand are scanned."""
    command = ("archive", "search", "--from", "4d", "--to", "now", "--json", "-n", "1000000")
    peak = 0
    with psutil.Popen(
        archive.argv(*command),
        env=archive.environ,
        cwd=archive.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        while not select.select([process.stdout], [], [], 0.01)[0]:
            peak = max(peak, process.memory_info().rss)
        first = json.loads(process.stdout.readline())
        process.stdout.close()
    assert first["message"].startswith("0 ")
    assert process.returncode == 0
    return peak


def test_the_estimate_is_what_a_restore_reads(day: ArchiveUnderTest) -> None:
    """Before anything is restored; a dry run restores nothing."""
    result = day.run("archive", "restore", "--from", "4d", "--to", "now", "--dry-run", "--json")
    assert result.returncode == 0, result.stderr
    planned = json.loads(result.stdout)
    assert planned["records"] == day.kept(mixed_day())
    assert f"{planned['records']} records of {planned['hours']} hours" in result.stderr
    assert day.stored("restored") == []
