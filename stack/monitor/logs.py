"""What the programs print about themselves: why one ended, why deliveries fail."""

from __future__ import annotations

import calendar
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from stack.monitor.plan import Plan, Program

SIZE = 200_000  # bytes of a log's end
JOURNAL_LINES = 200
MOST = 300  # characters of a line that are shown
# A line that says why a program ended, in the formats of all programs.
_FATAL = re.compile(
    r'"level":"(?:fatal|panic)"|\bFATAL\b|\bpanic:|fatal error:|level=(?:fatal|panic)'
    r"|^\w*(?:Error|Exception)\b|error running"
)
CAUSES: tuple[tuple[str, str, str], ...] = (
    ("no space left on device", "the disk is full", "df -h {folder}"),
    ("read-only file system", "its disk can only be read", "mount"),
    ("permission denied", "it may not use a file", "ls -l {folder}"),
    ("address already in use", "another program uses its port", "ss -ltnp"),
    ("out of memory", "there is no memory left", "free -h"),
    ("must be sorted", "it cannot read a batch of records", ""),
)
"""Texts in such a line, the cause that they mean, and the command that shows more than the log."""
DELIVERY: tuple[tuple[str, str], ...] = (
    ("connection refused", "nothing listens there"),
    ("code 401", "the destination refuses the password"),
    ("code 403", "the destination refuses the password"),
    ("status 401", "the destination refuses the password"),
    ("certificate has expired", "the destination's certificate has expired"),
    ("x509", "the destination's certificate is not trusted"),
    ("certificate verify failed", "the destination's certificate is not trusted"),
    ("no such host", "the destination's name cannot be resolved"),
    ("name or service not known", "the destination's name cannot be resolved"),
    ("timed out", "no answer: a firewall, or a destination that hangs"),
    ("deadline exceeded", "no answer: a firewall, or a destination that hangs"),
    ("i/o timeout", "no answer: a firewall, or a destination that hangs"),
    ("no route to host", "there is no route to the destination"),
    ("network is unreachable", "there is no route to the destination"),
    ("storage is in read-only mode", "the engine accepts no records, its disk is full"),
    ("code 503", "the gateway refuses the password, or the engine does not answer"),
    ("code 429", "the destination accepts no more records now, or its disk is full"),
    ("connection reset", "the destination ended the connection"),
)
"""Texts in an error of delivery, in small letters, and the cause that they mean."""
# Agents try again after half a minute at most.
NEW_S = 90.0
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)")
_DELIVERY_ERROR = re.compile(r"Exporting failed|error sending batch|final error sending")


def tail(path: Path, size: int = SIZE) -> str:
    """The last `size` bytes of a file as text; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def lines_of(program: Program, plan: Plan) -> list[str]:
    """The end of what a program printed; nothing where this user may not read it."""
    if program.log:
        return tail(Path(program.log)).splitlines()
    if not plan.units:
        return []
    argv = ["journalctl", "--no-pager", "--quiet", "-o", "cat", "-n", str(JOURNAL_LINES)]
    try:
        result = subprocess.run(
            # Without what systemd says about the unit.
            [*argv, f"_SYSTEMD_UNIT=logstack-{program.name}.service"],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return result.stdout.splitlines()


def message_of(line: str) -> str:
    """The text of a line for people, without the frame of its format."""
    try:
        values = json.loads(line)
    except ValueError:
        return line.strip()[:MOST]
    if not isinstance(values, dict):
        return line.strip()[:MOST]
    parts = [values.get(name) for name in ("msg", "message", "error", "err")]
    return ": ".join(str(part) for part in parts if part)[:MOST] or line.strip()[:MOST]


def why_it_ended(program: Program, plan: Plan) -> tuple[str, str, str]:
    """The cause, the line that says so, and a command; the first two may be empty."""
    show = plan.show(program.name)
    for line in reversed(lines_of(program, plan)):
        if not _FATAL.search(line):
            continue
        for text, cause, command in CAUSES:
            if text in line:
                return cause, message_of(line), command.format(folder=program.folder) or show
        return "it crashed", message_of(line), show
    return "", "", show


def last_line(program: Program, plan: Plan) -> str:
    """The last line of a program, for people."""
    lines = [line for line in lines_of(program, plan) if line.strip()]
    return message_of(lines[-1]) if lines else ""


def delivery_errors(program: Program, plan: Plan, now: float) -> Iterator[tuple[str, str]]:
    """The causes and the lines of an agent's failed deliveries within NEW_S, the newest first."""
    for line in reversed(lines_of(program, plan)):
        if _DELIVERY_ERROR.search(line) and _age(line, now) < NEW_S:
            yield delivery_cause(line), line


def delivery_cause(error: str, otherwise: str = "it was refused") -> str:
    """What an error of delivery means."""
    small = error.lower()
    return next((cause for text, cause in DELIVERY if text in small), otherwise)


def _age(line: str, now: float) -> float:
    """How old a line is, in seconds; 0 where it does not say."""
    found = _TIME.search(line)
    return now - seconds(found[1]) if found else 0.0


def seconds(moment: str) -> float:
    """A time in UTC such as 2026-01-31T10:30:00.5Z, in whole seconds since the epoch."""
    return float(calendar.timegm(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")))
