"""Another program fills the disk of an engine: what it has accepted stays readable."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stack import artifacts, settings
from stack.alerting.throwaway import RunningProcess, running
from stack.components.catalogue import by_name, command, programs
from stack.components.loki import render_loki
from stack.engines import Engine, EngineError, Selection
from stack.engines.factory import engine_of
from stack.settings import targets, variable_name
from stack.settings.targets import Target
from stack.settings.units import parse_bytes
from tests.support.native_stack import DEFAULT, LOKI, Combination, on, poll, record
from tests.support.ports import free_ports

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system"),
]
DISK, FREE = 400, "64MiB"  # the disk in MiB, and limits.free_disk
BATCH = 100


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of DISK MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "tmpfs", str(place)]
    mounted = subprocess.run(argv, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"this machine allows no mount: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def target(
    disk: Path,
    tmp_path: Path,
    combination: Combination,
    binaries: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Target:
    """The engine's target, with its data on the small disk. A request waits 3 s for its answer."""
    monkeypatch.setattr("stack.engines.victorialogs.TIMEOUT", (3.05, 3))
    names = ("victorialogs", "loki", "loki_grpc")
    ports = zip(names, free_ports(len(names)), strict=True)
    variables = {
        **combination.variables,
        **{variable_name("ports", name): str(port) for name, port in ports},
        variable_name("ports", "offset"): "0",
        variable_name("paths", "run"): str(tmp_path / "run"),
        variable_name("paths", "data"): str(disk),
        variable_name("limits", "free_disk"): FREE,
    }
    return targets.native(settings.load(variables))


@contextmanager
def running_engine(target: Target, output: Path) -> Iterator[RunningProcess]:
    """The engine as the native runtime starts it."""
    name = target.settings.stack.engine
    component, artifact = by_name(name), programs(target.settings)[name]
    folder = artifacts.find(artifact, artifacts.cache_dir(target.settings))
    assert folder is not None
    for file, text in (render_loki(target) if name == "loki" else {}).items():
        (target.run_dir / file).parent.mkdir(parents=True, exist_ok=True)
        (target.run_dir / file).write_text(text, encoding="utf-8")
    argv = command(component, target, {name: str(folder / artifact.binaries[0])})
    with running(argv, target.url(name), component.health, output) as found:
        yield found


@dataclass
class Writer(threading.Thread):
    """Pushes numbered records until it is stopped: how many were accepted and how many refused.

    `unknown` had no answer in time: the engine may have them.
    """

    engine: Engine
    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        while not self.ended.wait(0.02):
            batch = [record(number=self.accepted + i, padding="x" * 300) for i in range(BATCH)]
            try:
                self.engine.push(batch)
                self.accepted += BATCH
            except EngineError as error:
                if "timed out" in str(error).lower():
                    self.unknown += BATCH
                else:
                    self.refused += BATCH


@contextmanager
def writing(engine: Engine) -> Iterator[Writer]:
    writer = Writer(engine)
    writer.start()
    try:
        yield writer
    finally:
        writer.ended.set()
        writer.join()


def fill(disk: Path, target: Target) -> Path:
    """Write until the disk takes no more: VictoriaLogs looks at each request, Loki in 10 s."""
    path = disk / "of another program"
    block = b"x" * 2**20
    pause = 0.25 if target.settings.stack.engine == "loki" else 0
    with path.open("wb", buffering=0) as file, suppress(OSError):
        file.write(b"x" * (shutil.disk_usage(disk).free - parse_bytes(FREE)))
        while True:
            file.write(block)
            time.sleep(pause)
    return path


def stored(engine: Engine) -> int:
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    return engine.count(Selection(since=now - hour, until=now + hour))


@on(DEFAULT, LOKI)
def test_a_disk_that_fills_up_costs_no_record_that_was_accepted(
    target: Target, disk: Path, tmp_path: Path
) -> None:
    """The engine refuses records in time, goes on, and takes them again when there is room."""
    engine = engine_of(target)
    with running_engine(target, tmp_path / "output") as found:
        with writing(engine) as writer:
            poll(lambda: writer.accepted >= 5000, "records before the disk is full")
            time.sleep(3)  # a new stream is on disk by then
            filler = fill(disk, target)
            poll(lambda: writer.refused >= 10 * BATCH, "refused records", timeout=60)
            time.sleep(3)  # what the engine would write meanwhile
            assert found.process.poll() is None, found.log.read_text()[-3000:]
            filler.unlink()
            before = writer.accepted
            poll(lambda: writer.accepted >= before + 2000, "records after that", timeout=40)
        most = writer.accepted + writer.unknown
        poll(
            lambda: writer.accepted <= stored(engine) <= most,
            lambda: f"{stored(engine)} of {writer}",
        )
        found.process.kill()
        found.process.wait()
    time.sleep(0.1)
    with running_engine(target, tmp_path / "output again"):
        lost = writer.accepted - stored(engine)
        print(f"accepted {writer.accepted}, refused {writer.refused}, lost {lost} by the kill")


@on(DEFAULT, LOKI)
def test_an_engine_that_is_killed_while_its_disk_is_full_has_what_it_accepted(
    target: Target, disk: Path, tmp_path: Path
) -> None:
    """But for the seconds that every kill may cost."""
    engine = engine_of(target)
    with running_engine(target, tmp_path / "output") as found:
        with writing(engine) as writer:
            poll(lambda: writer.accepted >= 5000, "records before the disk is full")
            earlier = writer.accepted
            time.sleep(7)
            filler = fill(disk, target)
            poll(lambda: writer.refused >= 10 * BATCH, "refused records", timeout=60)
            time.sleep(7)
            assert found.process.poll() is None, found.log.read_text()[-3000:]
        found.process.kill()
        found.process.wait()
    filler.unlink()
    with running_engine(target, tmp_path / "output again"):
        left = stored(engine)
        print(f"accepted {writer.accepted}, refused {writer.refused}, stored {left}")
        assert left >= earlier
