"""`import` brings files into a running engine: all of them, once, under their own times."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from stack.archive import failpoints
from stack.engines import Selection
from stack.settings import variable_name
from tests.support.native_stack import (
    ON_ENGINES,
    StackUnderTest,
    line,
    marker,
    poll,
    record,
)

pytestmark = [pytest.mark.native, ON_ENGINES]
AGO = timedelta(days=3)


def records(service: str, count: int, age: timedelta = AGO, **fields: Any) -> list[str]:
    """Lines of records a second apart, the first `age` ago."""
    first = datetime.now(UTC) - age
    return [
        line(
            record(f"number {number}", service_name=service, number=number, **fields)
            | {"timestamp": stamp(first + timedelta(seconds=number))}
        )
        for number in range(count)
    ]


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def write(path: Path, lines: Iterable[str]) -> Path:
    text = "".join(f"{text}\n" for text in lines)
    data = text.encode()
    packers: dict[str, Callable[[bytes], bytes]] = {
        ".gz": gzip.compress,
        ".xz": lzma.compress,
    }
    path.write_bytes(packers[path.suffix](data) if path.suffix in packers else data)
    return path


def numbers(stack: StackUnderTest, service: str, since: timedelta = timedelta(days=8)) -> list[int]:
    """The field `number` of each record of a service, in order."""
    now = datetime.now(UTC)
    selection = Selection(
        since=now - since, until=now + timedelta(days=1), matches={"service_name": service}
    )
    found = stack.engine.records(selection, limit=1_000_000)
    return sorted(int(str(item.get("number", -1))) for item in found)


def test_a_file_arrives_under_its_own_times_and_once(stack: StackUnderTest, tmp_path: Path) -> None:
    """Packed files, too; a second run imports nothing, nor does one of a renamed file."""
    service = marker()
    rotated = write(tmp_path / "shop $[1].log.1", records(service, 3000))
    packed = write(tmp_path / "shop.log.2.gz", records(service, 50, AGO * 1.5))
    result = stack.run("import", str(rotated), str(packed), "--service", service)
    assert result.returncode == 0, result.stderr
    first = json.loads(rotated.read_text().splitlines()[0])["timestamp"]
    assert "imported 3000 records of 3000 lines" in result.stdout
    assert f"(from {first}" in result.stdout
    assert "imported 50 records of 50 lines" in result.stdout
    assert numbers(stack, service) == sorted([*range(3000), *range(50)])
    oldest = write(tmp_path / "shop.log.3.xz", records(service, 50, AGO * 1.5))
    rotated.rename(tmp_path / "shop.log.2")
    again = stack.run("import", str(tmp_path / "shop.log.2"), str(packed), "--service", service)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("imported nothing") == 2
    assert numbers(stack, service) == sorted([*range(3000), *range(50)])
    assert stack.run("import", str(oldest), "--service", service, "--dry-run").returncode == 0
    assert numbers(stack, service) == sorted([*range(3000), *range(50)])


def test_of_a_file_that_has_grown_only_the_rest_is_imported(
    stack: StackUnderTest, tmp_path: Path
) -> None:
    service = marker()
    lines = records(service, 30)
    path = write(tmp_path / "app.txt", lines[:20])
    assert stack.run("import", str(path), "--service", service).returncode == 0
    write(path, lines)
    result = stack.run("import", str(path), "--service", service)
    assert "imported 10 records of 10 lines" in result.stdout
    assert numbers(stack, service) == [*range(30)]


def test_what_the_engine_would_not_keep_is_named_and_not_sent(
    stack: StackUnderTest, tmp_path: Path
) -> None:
    """With how many, from when to when, and why; the rest is imported."""
    service = marker()
    old = records(service, 4, timedelta(days=10))
    ahead = records(service, 3, timedelta(days=-5))
    never = line(record(service_name=service) | {"timestamp": "1600-01-01T00:00:00Z"})
    path = write(tmp_path / "old.log", [*old, *ahead, never, *records(service, 20)])
    result = stack.run("import", str(path), "--service", service)
    assert result.returncode == 0, result.stderr
    assert "imported 20 records of 28 lines" in result.stdout
    first, last = (json.loads(item)["timestamp"] for item in (old[0], old[-1]))
    assert f"not sent: 4 records from {first} to {last}, more than 6 days ago" in result.stderr
    assert "archive.lateness = 7d" in result.stderr
    assert "not sent: 3 records" in result.stderr
    assert "not sent: 1 record whose time is in no usable range" in result.stderr
    assert numbers(stack, service, timedelta(days=40)) == [*range(20)]


def test_text_without_a_time_has_that_of_the_record_before(
    stack: StackUnderTest, tmp_path: Path
) -> None:
    """A traceback stays where it happened; a file without any time is refused."""
    service = marker()
    lines = records(service, 3)
    traceback = ["Traceback (most recent call last):", '  File "x"', f"ValueError: {service}"]
    path = write(tmp_path / "mixed.log", [*lines[:2], *traceback, *lines[2:]])
    result = stack.run("import", str(path), "--service", service)
    assert "imported 4 records of 6 lines" in result.stdout
    now = datetime.now(UTC)
    around = Selection(now - AGO * 2, now, matches={"service_name": service})
    found = {str(item["message"]): item for item in stack.engine.records(around, limit=10)}
    assert found["\n".join(traceback)]["timestamp"] == json.loads(lines[1])["timestamp"]
    assert found["\n".join(traceback)]["log.file.path"] == str(path)
    untimed = write(tmp_path / "untimed.log", [f"nothing {service}"] * 3)
    refused = stack.run("import", str(untimed), "--service", service)
    assert refused.returncode == 1
    assert "none of its first 3 records has a time" in refused.stderr
    assert numbers(stack, service) == [-1, 0, 1, 2]


@pytest.mark.parametrize("place", failpoints.IMPORT)
def test_a_killed_import_is_continued_and_nothing_is_twice_or_lost(
    stack: StackUnderTest, tmp_path: Path, place: str
) -> None:
    """kill -9 at the first batch of several, and once more at the next one."""
    service = marker()
    padding = "x" * 2000
    path = write(tmp_path / "big.log", records(service, 2500, padding=padding))
    command = ("import", str(path), "--service", service)
    for _ in range(2):
        killed = stack.run(*command, extra={failpoints.VARIABLE: place})
        assert killed.returncode == -9, killed.stderr
    result = stack.run(*command)
    assert result.returncode == 0, result.stderr
    assert "imported 2500 records of 2500 lines" in result.stdout
    assert numbers(stack, service) == [*range(2500)]
    assert [item.name for item in (stack.target.data_dir / "import").iterdir()] == ["imported.json"]


def test_an_import_without_an_engine_is_continued_by_the_next(
    own_stack: StackUnderTest, tmp_path: Path
) -> None:
    """The command says which one shows what does not run, and nothing is lost."""
    service = marker()
    own_stack.up()
    path = write(tmp_path / "app.txt", records(service, 100))
    command = ("import", str(path), "--service", service)
    own_stack.run("down")
    failed = own_stack.run(*command)
    assert failed.returncode == 1
    assert "./logstack status" in failed.stderr
    own_stack.up()
    assert own_stack.run(*command).returncode == 0
    assert numbers(own_stack, service) == [*range(100)]


def test_a_file_that_the_agent_reads_is_refused(own_stack: StackUnderTest, tmp_path: Path) -> None:
    """Its records would be there twice; a packed one beside it is not read by the agent."""
    pattern = f"{tmp_path}/*.log"
    files = f'[{{service = "shop", path = "{pattern}"}}]'
    own_stack.variables[variable_name("agent", "files")] = files
    for name, refused in (("a.log", True), ("a.log.1", True), ("a.log.1.gz", False)):
        path = write(tmp_path / name, records("shop", 3))
        result = own_stack.run("import", str(path), "--service", "shop", "--dry-run")
        assert result.returncode == int(refused), result.stderr
        assert ("the agent reads it itself" in result.stderr) == refused


def test_an_import_can_be_interrupted(stack: StackUnderTest, tmp_path: Path) -> None:
    """Ctrl-C while the agent reads: no process stays, and the same command does it all."""
    service = marker()
    path = write(tmp_path / "long.log", records(service, 60_000))
    process = stack.popen("import", str(path), "--service", service)

    def agents() -> list[psutil.Process]:
        children = psutil.Process(process.pid).children()
        return [child for child in children if "otelcol" in " ".join(child.cmdline())]

    found = poll(agents, "the agent")
    process.send_signal(2)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    poll(lambda: not any(psutil.pid_exists(agent.pid) for agent in found), "no agent")
    result = stack.run("import", str(path), "--service", service)
    assert result.returncode == 0, result.stderr
    assert len(numbers(stack, service)) == 60_000
