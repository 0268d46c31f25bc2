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
from stack.records.contract import agent_fields, fields, normalise
from stack.runtimes.selection import Running
from stack.settings.targets import Target

WAIT = 30.0  # seconds until a record that the engine does not return counts as lost
SETTLE = 1.0  # seconds to wait for a second copy
# Set only when a value was cut, repaired or kept as text.
CONDITIONAL = {"truncated", *agent_fields()}


class SmokeError(Exception):
    """The engine did not return the record as it was written; the text says how it differs."""


@dataclass(frozen=True)
class SmokeResult:
    """`seconds`: from writing the record to reading it from the engine."""

    marker: str
    seconds: float
    fields: int


Write = Callable[[str], dict[str, Any]]
"""Logs one record with a marker through the app and returns it as written."""


def run(target: Target, engine: Engine, write: Write) -> SmokeResult:
    """Write one marked record through the app and compare it with what the engine returns.

    Raises SmokeError unless the engine returns exactly one record with every field of the contract,
    each of the type and value written.
    """
    marker = f"smoke-{uuid.uuid4()}"
    written = write(marker)
    expected = {**normalise(written), "host": target.settings.host}
    ours = [name for name, field in fields().items() if field.set_by != "monitor"]
    if absent := [name for name in ours if name not in expected and name not in CONDITIONAL]:
        raise SmokeError(
            f"smoke: the app's record lacks fields of the contract: {', '.join(absent)}"
        )
    found, seconds = wait_for(engine, marker, written)
    if len(found) != 1:
        raise SmokeError(f"smoke: expected 1 record with the marker {marker}, got {len(found)}")
    if problems := differences(expected, found[0]):
        raise SmokeError("smoke: the engine returned another record:\n" + "\n".join(problems))
    return SmokeResult(marker, seconds, len(expected))


def writer_of(running: Running) -> Write:
    """How a runtime's app logs the record."""
    if running.docker:
        return write_in_container(running.docker.exec)
    return write_natively(running.target, running.secrets())


def write_natively(target: Target, secrets: Mapping[str, str]) -> Write:
    """Through a new process of the app and its log file."""

    def write(marker: str) -> dict[str, Any]:
        emit(target, marker, secrets)
        return find_written(target.app_log_file, marker)

    return write


def write_in_container(execute: Callable[..., str]) -> Write:
    """Through a process in the app's container, whose output goes to the container's log."""

    def write(marker: str) -> dict[str, Any]:
        command = 'python3 -P -m stack.sample_app emit_marker --marker "$0" | tee /proc/1/fd/1'
        lines = execute("sample_app", "sh", "-c", command, marker).splitlines()
        if len(lines) != 1:
            raise SmokeError(f"smoke: expected 1 line from the sample app, got {len(lines)}")
        record: dict[str, Any] = json.loads(lines[0])
        return record

    return write


def emit(target: Target, marker: str, secrets: Mapping[str, str]) -> None:
    """Log one record with `marker` and every field, in a new process of the app."""
    result = subprocess.run(
        [sys.executable, "-P", "-m", "stack.sample_app", "emit_marker", "--marker", marker],
        env={**os.environ, **sample_app_env(target), **secrets},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        tail = last_lines(result.stderr, 5)
        raise SmokeError(f"cannot log the record with the sample app:\n{tail}")


def find_written(log_file: Path, marker: str) -> dict[str, Any]:
    """The record in the app's log file."""
    try:
        with log_file.open("rb") as file:
            file.seek(max(0, log_file.stat().st_size - 4_000_000))
            lines = [line for line in file if marker.encode() in line]
    except OSError as error:
        raise SmokeError(f"cannot read {log_file}: {error.strerror}. Run: make up") from None
    if len(lines) != 1:
        raise SmokeError(f"{log_file}: expected 1 line with {marker}, got {len(lines)}")
    record: dict[str, Any] = json.loads(lines[0])
    return record


def wait_for(engine: Engine, marker: str, written: Mapping[str, Any]) -> tuple[list[Record], float]:
    """The records with the marker, and the seconds between writing and reading the first."""
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
        f"smoke: expected the record {marker} in the engine within {WAIT:g} s, got none, although "
        "the app logged it. Run: ./logstack status"
    )


def differences(expected: Mapping[str, object], got: Mapping[str, object]) -> list[str]:
    """One line per field that is missing, added, of another value or of another type."""
    lines = []
    for name in dict.fromkeys((*expected, *got)):
        ours, theirs = expected.get(name, "(nothing)"), got.get(name, "(nothing)")
        if ours != theirs or type(ours) is not type(theirs):
            lines.append(
                f"  {name}: expected {ours!r} ({type(ours).__name__}), "
                f"got {theirs!r} ({type(theirs).__name__})"
            )
    return lines
