"""The round trip of one record: app's logging -> file -> agent -> engine -> typed record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stack.common import last_lines, wait_until
from stack.components.sample_app import sample_app_env
from stack.engines import Engine, Record, Selection
from stack.records.contract import agent_fields, fields, normalised
from stack.runtimes.selection import Running
from stack.settings.targets import Target

WAIT = 30.0  # seconds until a record that has not come back counts as lost
SETTLE = 1.0  # seconds to wait for a second copy
# Set only where there was something to cut, to repair or to keep as text.
CONDITIONAL = {"truncated", *agent_fields()}


class SmokeError(Exception):
    """The record did not come back as it was written; the text says how it differs."""


@dataclass(frozen=True)
class SmokeResult:
    """`seconds`: from the record being written to its being found."""

    marker: str
    seconds: float
    fields: int


Write = Callable[[str], dict[str, Any]]
"""Logs one record with the marker through the app; the record as it was written."""


def run(target: Target, engine: Engine, write: Write) -> SmokeResult:
    """Write one marked record through the app and compare what the engine gives back.

    Raises SmokeError unless exactly one record comes back with every field of the contract, each
    of the type and value written.
    """
    marker = f"smoke-{uuid.uuid4()}"
    written = write(marker)
    wanted = {**normalised(written), "host": target.settings.host}
    if absent := [name for name in fields() if name not in wanted and name not in CONDITIONAL]:
        raise SmokeError(f"The app's record lacks fields of the contract: {', '.join(absent)}")
    found, seconds = wait_for(engine, marker, written)
    if len(found) != 1:
        raise SmokeError(f"wanted 1 record with the marker {marker}, found {len(found)}")
    if problems := differences(wanted, found[0]):
        raise SmokeError("The record came back changed:\n" + "\n".join(problems))
    return SmokeResult(marker, seconds, len(wanted))


def writer_of(running: Running) -> Write:
    """How the app of a runtime logs the record."""
    if running.docker:
        return write_in_container(running.docker.exec)
    return write_natively(running.target, running.secrets())


def write_natively(target: Target, secrets: Mapping[str, str]) -> Write:
    """Through a process of the app's own and its log file."""

    def write(marker: str) -> dict[str, Any]:
        emit(target, marker, secrets)
        return find_written(target.app_log_file, marker)

    return write


def write_in_container(execute: Callable[..., str]) -> Write:
    """Through a process in the app's container, whose output becomes the container's own."""

    def write(marker: str) -> dict[str, Any]:
        command = 'python3 -P -m stack.sample_app emit_marker --marker "$0" | tee /proc/1/fd/1'
        lines = execute("sample_app", "sh", "-c", command, marker).splitlines()
        if len(lines) != 1:
            raise SmokeError(f"wanted 1 line from the sample app, found {len(lines)}")
        record: dict[str, Any] = json.loads(lines[0])
        return record

    return write


def emit(target: Target, marker: str, secrets: Mapping[str, str]) -> None:
    """Log one record that carries `marker` and every field, in a process of the app's own."""
    result = subprocess.run(
        [sys.executable, "-P", "-m", "stack.sample_app", "emit_marker", "--marker", marker],
        env={**os.environ, **sample_app_env(target), **secrets},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        tail = last_lines(result.stderr, 5)
        raise SmokeError(f"The sample app could not log the record:\n{tail}")


def find_written(log_file: Path, marker: str) -> dict[str, Any]:
    """The record as it stands in the app's log file."""
    try:
        with log_file.open("rb") as file:
            file.seek(max(0, log_file.stat().st_size - 4_000_000))
            lines = [line for line in file if marker.encode() in line]
    except OSError as error:
        raise SmokeError(f"{log_file}: {error.strerror}. Type: make up") from None
    if len(lines) != 1:
        raise SmokeError(f"{log_file}: wanted 1 line with {marker}, found {len(lines)}")
    record: dict[str, Any] = json.loads(lines[0])
    return record


def wait_for(engine: Engine, marker: str, written: Mapping[str, Any]) -> tuple[list[Record], float]:
    """The records with the marker, and the seconds between writing and finding the first."""
    made = datetime.fromisoformat(written["timestamp"])
    selection = Selection(
        since=made - timedelta(minutes=1),
        until=made + timedelta(minutes=5),
        matches={"marker": marker},
    )
    if wait_until(lambda: engine.count(selection), WAIT, every=0.1):
        seconds = (datetime.now(UTC) - made).total_seconds()
        time.sleep(SETTLE)
        return list(engine.records(selection, limit=10)), seconds
    raise SmokeError(
        f"wanted the record {marker} to be found within {WAIT:g} s, found nothing. "
        "It is in the app's log file; ./logstack status shows which component does not work"
    )


def differences(wanted: Mapping[str, object], found: Mapping[str, object]) -> list[str]:
    """One line per field that is missing, added, of another value or of another type."""
    lines = []
    for name in dict.fromkeys((*wanted, *found)):
        ours, theirs = wanted.get(name, "(nothing)"), found.get(name, "(nothing)")
        if ours != theirs or type(ours) is not type(theirs):
            lines.append(
                f"  {name}: wanted {ours!r} ({type(ours).__name__}), "
                f"found {theirs!r} ({type(theirs).__name__})"
            )
    return lines
