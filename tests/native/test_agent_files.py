"""Which files the agent reads, and which it takes for one, by what the engine has of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import get_args

import pytest

from stack.runtimes.supervisor import Supervisor
from stack.settings import variable_name
from stack.settings.tables import FileSource
from tests.support.native_stack import (
    ON_EVERY_COMBINATION,
    StackUnderTest,
    burst,
    line,
    marker,
    record,
)

pytestmark = [pytest.mark.native, ON_EVERY_COMBINATION]
ROTATED = ("1", "-20261128", "-20261128-1732750000", "-2026112817", "-2026-11-28", ".20261128")
NOT_TEXT = ("gz", "zst", "xz", "bz2", "lz4", "Z", "zip", "swp")


@pytest.fixture
def folder(own_stack: StackUnderTest) -> Path:
    """Of log files that the agent reads: a pattern for each of three services."""
    path = own_stack.folder / "logs"
    path.mkdir()
    entries = {"audit": "app.log-audit.log", "app": "app.log", "rest": "*.log"}
    tables = (f'{{service = "{name}", path = "{path}/{log}"}}' for name, log in entries.items())
    own_stack.variables[variable_name("agent", "files")] = f"[{', '.join(tables)}]"
    return path


def test_files_with_the_same_banner_are_all_read(own_stack: StackUnderTest, folder: Path) -> None:
    """Workers of a program that prints 12 kB about itself first, each with a line of its own."""
    banner = "".join(f"[tasks] . shop.tasks.number_{number:03d}\n" for number in range(400))
    assert len(banner) > 12_000
    marks = [marker() for _ in range(4)]
    for number, mark in enumerate(marks):
        text = f"{banner}worker {number} is ready {mark}\n"
        (folder / f"worker-{number}.log").write_text(text, encoding="utf-8")
    own_stack.up()
    for mark in marks:
        own_stack.wait_for({"service_name": "rest"}, 1, grep=mark)
    own_stack.wait_for({"service_name": "rest"}, 4, grep="number_399")
    assert own_stack.count({"service_name": "rest"}) == 4 * 401


@pytest.mark.parametrize("name", ROTATED)
def test_a_file_rotated_while_the_agent_is_down_is_read_to_its_end(
    own_stack: StackUnderTest, folder: Path, name: str
) -> None:
    """Whatever logrotate calls it: numbers, days, hours, seconds."""
    own_stack.unless_promtail("it knows a file by its name, and a renamed one is not read")
    log, mark = folder / "app.log", marker()
    lines = [f"{text}\n" for text in burst(300, mark, service_name="app")]
    log.write_text("".join(lines[:100]), encoding="utf-8")
    own_stack.up()
    own_stack.wait_for({"mark": mark}, 100)
    supervisor = Supervisor(own_stack.target)
    supervisor.stop(own_stack.agent)
    with log.open("a", encoding="utf-8") as file:
        file.write("".join(lines[100:200]))
    log.rename(folder / (f"app.log.{name}" if name.isdigit() else f"app.log{name}"))
    log.write_text("".join(lines[200:]), encoding="utf-8")
    supervisor.restart(own_stack.agent)
    found = own_stack.wait_for({"mark": mark}, 300)
    assert sorted(int(str(item["number"])) for item in found) == list(range(300))


def test_each_file_is_read_once_and_what_is_no_text_not_at_all(
    own_stack: StackUnderTest, folder: Path
) -> None:
    """The first entry that matches has the file; compressed files and an editor's have none."""
    own_stack.unless_promtail("a file that two entries match is read for each of them")
    mark = marker()
    (folder / "app.log-audit.log").write_text(f"audit {mark}\n", encoding="utf-8")
    (folder / "app.log").write_text(f"app {mark}\n", encoding="utf-8")
    (folder / "web.log").write_text(f"web {mark}\n", encoding="utf-8")
    for number, ending in enumerate(NOT_TEXT):
        for name in ("app.log.1", "app.log-20261128", ".web.log"):
            (folder / f"{name}.{ending}").write_bytes(f"{mark} {number} {name}\n".encode())
    own_stack.up()
    last = marker()
    with (folder / "web.log").open("a", encoding="utf-8") as file:
        file.write(f"{last}\n")
    own_stack.wait_for({}, 1, grep=last)
    found = own_stack.wait_for({}, 3, grep=mark)
    assert sorted((item["service_name"], str(item["message"]).split()[0]) for item in found) == [
        ("app", "app"),
        ("audit", "audit"),
        ("rest", "web"),
    ]


def test_files_of_other_encodings_are_read(own_stack: StackUnderTest, folder: Path) -> None:
    """JSON and text, with the mark and the ends of lines of Windows; `explain` reads them too."""
    agent = own_stack.settings.stack.agent
    names = [
        name
        for name in get_args(FileSource.model_fields["encoding"].annotation)
        # Promtail splits lines before it decodes them.
        if agent != "promtail" or not name.startswith("utf-16")
    ]
    tables = (
        f'{{service = "{name}", path = "{folder}/{name}.log", encoding = "{name}"}}'
        for name in names
    )
    own_stack.variables[variable_name("agent", "files")] = f"[{', '.join(tables)}]"
    mark = marker()
    for name in names:
        begin = "\ufeff" if name.startswith("utf-16") else ""
        text = line(record(f"grüße {mark}", service_name=name))
        lines = f"{begin}{text}\r\nERROR [shop] größer {mark}\r\n"
        (folder / f"{name}.log").write_bytes(lines.encode(name))
    own_stack.up()
    for name in names:
        found = own_stack.wait_for({"service_name": name}, 2, grep=mark)
        assert sorted(str(item["message"]).rstrip("\r") for item in found) == [
            *(f"ERROR [shop] größer {mark}", f"grüße {mark}")
        ]
        assert not [item for item in found if "encoding_repaired" in item]
        shown = own_stack.run(
            *("explain", "--json", "--file", str(folder / f"{name}.log"))
        ).stdout.splitlines()
        assert [json.loads(text)["record"]["message"].rstrip("\r") for text in shown] == [
            *(f"grüße {mark}", f"ERROR [shop] größer {mark}")
        ]


def test_a_pipe_with_the_name_of_a_log_file_stops_no_other(
    own_stack: StackUnderTest, folder: Path
) -> None:
    """Nobody writes to it; the agent's log names it once."""
    own_stack.unless_promtail("its readers are as they are released")
    os.mkfifo(folder / "aaa.log")
    marks = [marker(), marker()]
    (folder / "zzz.log").write_text(f"{line(record(mark=marks[0]))}\n", encoding="utf-8")
    own_stack.up()
    own_stack.wait_for({"mark": marks[0]}, 1)
    with (folder / "zzz.log").open("a", encoding="utf-8") as file:
        file.write(f"{line(record(mark=marks[1]))}\n")
    own_stack.wait_for({"mark": marks[1]}, 1)
    said = own_stack.target.log_file("otelcol").read_text(encoding="utf-8")
    assert said.count("not a regular file") == 1


def test_another_fingerprint_reads_nothing_again(own_stack: StackUnderTest) -> None:
    """Who changes the setting, or upgrades, has no record twice."""
    own_stack.unless_promtail("it knows a file by its name")
    own_stack.variables[variable_name("agent", "fingerprint")] = "1000B"
    own_stack.up()
    mark = marker()
    own_stack.write(*burst(500, mark))
    own_stack.wait_for({"mark": mark}, 500)
    del own_stack.variables[variable_name("agent", "fingerprint")]
    own_stack.up()
    own_stack.write(line(record(mark=mark, number=500)))
    found = own_stack.wait_for({"mark": mark}, 501)
    assert len(found) == 501
