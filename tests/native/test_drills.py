"""The short form of every drill: what breaks under load loses nothing, and is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from bench.drills.drill import Drill
from bench.drills.table import DRILLS
from tests.support.native_stack import ROOT, poll
from tests.support.require import unavailable

pytestmark = [pytest.mark.native, pytest.mark.own_stack, pytest.mark.timeout(600)]
SHORT = [drill for drill in DRILLS if drill.short is not None]


@pytest.mark.parametrize("drill", SHORT, ids=lambda drill: drill.name)
def test_a_drill_loses_nothing_and_its_fault_is_named(
    drill: Drill, tmp_path: Path, binaries: None
) -> None:
    """Except where README says that it does."""
    if reason := drill.needs():
        unavailable("tmpfs", reason)
    assert drill.short is not None
    outcome = drill.run(tmp_path, drill.short)
    print(outcome)
    assert drill.faults(outcome) == [], outcome


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """That of the test is too long for the socket of a stack in a folder below it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_ctrl_c_ends_a_drill_and_its_stack(short_folder: Path, binaries: None) -> None:
    """Also where a shell started it in the background, which ignores Ctrl-C."""
    argv = [sys.executable, "-m", "bench.drills", "engine-stopped"]
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    drill = subprocess.Popen(
        [sys.executable, "-c", ignoring, *argv],
        env={**os.environ, "TMPDIR": str(short_folder)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    poll(
        lambda: started_in(short_folder, "victoria-logs") or drill.poll() is not None,
        "the engine runs",
        timeout=120,
    )
    assert drill.poll() is None, drill.communicate()[0]
    os.killpg(drill.pid, signal.SIGINT)
    output, _ = drill.communicate(timeout=120)
    assert drill.returncode == 130, output
    poll(
        lambda: not started_in(short_folder),
        lambda: f"nothing runs, got {started_in(short_folder)}",
    )
    assert list(short_folder.iterdir()) == []


def started_in(folder: Path, name: str = "") -> list[str]:
    """The command lines of the processes that name a folder, and `name`."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if str(folder) in words and name in words:
                found.append(words)
    return found
