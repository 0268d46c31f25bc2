"""What `logstack doctor` makes of observations."""

from __future__ import annotations

import re

from stack.archive.checks import Finding
from stack.checks.doctor import SUBJECTS, health, with_command
from stack.monitor.model import Observation, Problem, from_json, to_json
from stack.settings import ROOT

SEEN = [
    Observation("victorialogs", "", {"up": 1, "disk_free_bytes": 2**30}),
    Observation("otelcol", "", {"up": 1, "disk_free_bytes": 2**31, "accepted_records_10m": 7}),
    Observation("otelcol", "otlp_http", {"sent_records_10m": 5, "queue_bytes": 2048}),
]


def test_what_is_right_is_one_line_per_subject() -> None:
    """Nothing is said of what was not looked at, such as certificates here."""
    assert [(item.check, item.text) for item in health(SEEN)] == [
        ("programs", "2 programs run and answer"),
        ("disks", "1 GiB or more are free"),
        (
            "records",
            "in ten minutes 7 were accepted, 5 sent and none dropped; 2 KiB wait in the queue",
        ),
    ]


def test_a_problem_is_a_finding_of_its_own() -> None:
    """With cause, evidence and command, also when it comes from a host; a note is no failure."""
    full = Problem("disk_full", "it is full", "0 B are free", "df -h")
    absent = Problem("no_files", "no file", "/x matches nothing", "ls -l /", note=True)
    seen = from_json(to_json([*SEEN, Observation("otelcol", "", {"files": 3}, (full, absent))]))
    found = {item.check: item for item in health(seen)}
    assert found["disks"] == Finding("disks", False, "it is full", "0 B are free", "df -h")
    assert found["log files"].ok
    assert [item.text for item in health(seen) if item.check == "log files"] == [
        "the agent can read 3 log files",
        "no file",
    ]


def test_the_command_of_a_policy_stands_apart() -> None:
    """As that of every other finding."""
    found = with_command(Finding("x", False, "expected 1 day, got 2. Run: make up"))
    assert (found.text, found.command) == ("expected 1 day, got 2", "make up")
    assert with_command(Finding("x", True, "a. Run: b")).command == ""
    for place in ("on the host", "on it", "on app-1.example.net"):
        assert with_command(Finding("x", False, f"a. Run {place}: b -c")).command == "b -c"


def test_every_problem_has_a_subject_and_is_documented() -> None:
    """In doctor, and in the table of docs/monitoring.md."""
    sources = "".join(p.read_text() for p in (ROOT / "stack" / "monitor").glob("*.py"))
    names = set(re.findall(r'(?:Problem|problem)\(\s*"([a-z_]+)"', sources))
    known = {name for group in SUBJECTS.values() for name in group}
    assert names == known
    table = (ROOT / "docs" / "monitoring.md").read_text()
    assert all(f"`{name}`" in table for name in known)
