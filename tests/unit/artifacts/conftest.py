"""A go that builds at once, and a cache for each test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stack.common import wait_until
from stack.settings import ROOT, Settings
from tests.support.builds import is_alive
from tests.support.example import settings_with
from tests.support.fake_go import FakeGo

OBTAIN = r"""
import sys
from stack.artifacts import ensure_all
from tests.support.example import settings_with
def note(name, text):
    sys.stdout.write(f"{name}: {text}\n")
    sys.stdout.flush()
folders = ensure_all(settings_with(paths={"cache": sys.argv[1]}), note)
print(*sorted(str(folder) for folder in folders.values() if sys.argv[1] in str(folder)))
"""


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGo]:
    """A go, and no component, on PATH; what it left running is ended."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    fake = FakeGo(folder)
    yield fake
    if fake.hangs.exists():
        pid = int(fake.hangs.read_text(encoding="utf-8"))
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def values(tmp_path: Path) -> Settings:
    """Settings with a cache for this test."""
    return settings_with(paths={"cache": str(tmp_path / "cache")})


@pytest.fixture
def start_building(go: FakeGo, values: Settings) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts ensure_all in another process."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", OBTAIN, values.paths.cache],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    go.go_on()
    for process in started:
        with process:
            process.kill()


@pytest.fixture
def hanging_build(
    go: FakeGo, monkeypatch: pytest.MonkeyPatch, start_building: Callable[[], subprocess.Popen[str]]
) -> subprocess.Popen[str]:
    """A build in another process, whose compiler of vmalert hangs."""
    monkeypatch.setenv("FAKE_GO_HANGS", "vmalert")
    process = start_building()
    assert wait_until(go.hangs.exists, 10, every=0.02)
    return process
