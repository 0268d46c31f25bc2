"""Throw-away log engines for tests: one real process each, on a free port, in a folder of its own.

`running_victorialogs(folder)` is a context manager; the fixture `victorialogs` of a conftest that
imports it is one engine per test session. Whatever a test stores there, it marks as its own, for
example by an environment of its own.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from stack import artifacts, settings, targets
from stack.components import by_name, command
from stack.engines.victorialogs import VictoriaLogs
from stack.settings import variable_name
from tests.ports import free_ports

START_TIMEOUT = 60.0


@dataclass(frozen=True)
class RunningProcess:
    """A program that a test started. `log` is the file with what it prints."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]


@contextmanager
def running(
    argv: Sequence[str],
    url: str,
    health: str,
    folder: Path,
    environ: Mapping[str, str] | None = None,
) -> Iterator[RunningProcess]:
    """Run a program until the block ends; it is there when `url` + `health` answers 200."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, stdout=output, stderr=subprocess.STDOUT, cwd=folder, env=environ
        )
    found = RunningProcess(url, log, process)
    try:
        wait_until_healthy(found, health)
        yield found
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_healthy(found: RunningProcess, health: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            if requests.get(found.url + health, timeout=2).ok:
                return
        except requests.RequestException:
            pass
        ended = found.process.poll() is not None
        if ended or time.monotonic() > deadline:
            text = found.log.read_text(encoding="utf-8", errors="replace")[-4000:]
            what = "it ended" if ended else f"no answer within {START_TIMEOUT:g} s"
            raise AssertionError(f"{found.url}{health}: {what}. Its log:\n{text}")
        time.sleep(0.1)


def target_in(folder: Path, *ports: str) -> targets.Target:
    """A native target whose files lie in `folder` and whose named ports are free ones."""
    numbers = zip(ports, free_ports(len(ports)), strict=True)
    variables = {variable_name("ports", name): str(number) for name, number in numbers}
    variables |= {
        variable_name("ports", "offset"): "0",
        variable_name("paths", "run"): str(folder / "run"),
        variable_name("paths", "data"): str(folder / "data"),
    }
    return targets.native(settings.load(variables))


@contextmanager
def running_victorialogs(folder: Path) -> Iterator[VictoriaLogs]:
    """One VictoriaLogs with the arguments that the native runtime gives it."""
    target = target_in(folder, "victorialogs")
    obtained = artifacts.obtain_all(target.settings, lambda name, text: None)
    component = by_name("victorialogs")
    argv = command(
        component, target, {"victorialogs": str(obtained["victorialogs"] / "victoria-logs")}
    )
    url = target.url("victorialogs")
    with running(argv, url, component.health, folder / "victorialogs"):
        yield VictoriaLogs(url)


@pytest.fixture(scope="session")
def victorialogs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictoriaLogs]:
    """A VictoriaLogs of its own for the whole test session."""
    with running_victorialogs(tmp_path_factory.mktemp("victorialogs")) as engine:
        yield engine


def flush(engine: VictoriaLogs) -> None:
    """Make what was pushed visible to queries."""
    requests.get(f"{engine.url}/internal/force_flush", timeout=30).raise_for_status()
