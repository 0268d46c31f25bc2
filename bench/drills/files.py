"""Log files that are rotated, many or large; a queue and a disk that are full."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from bench.drills.components import ENGINE
from bench.drills.drill import Outcome, Scene, measure, native, under_load
from bench.drills.watch import Names, watching
from tests.support.native_stack import StackUnderTest, burst, line, marker, poll, record

ROTATIONS = 10
FILES, LINES = 500, 20
DISK = "420m"
FREE = "64MiB"


def rotated(rotate: Callable[[Path, int], None]) -> Callable[[Scene], None]:
    """A fault: `rotate` is called several times in the length of the drill."""

    def fault(scene: Scene) -> None:
        for number in range(1, ROTATIONS + 1):
            scene.writer.wait_for(scene.seconds / ROTATIONS)
            poll(scene.stack.app_log.exists, "a file to rotate")  # the writer may be slow
            rotate(scene.stack.app_log, number)

    return fault


def by_number(log: Path, number: int) -> None:
    for old in range(number - 1, 0, -1):
        log.with_name(f"{log.name}.{old}").rename(log.with_name(f"{log.name}.{old + 1}"))
    log.rename(log.with_name(f"{log.name}.1"))


def by_date(log: Path, number: int) -> None:
    log.rename(log.with_name(f"{log.name}-20260101-{number:010d}"))


def copied_and_truncated(log: Path, number: int) -> None:
    """What is written between the two steps is lost, whatever reads it."""
    shutil.copyfile(log, log.with_name(f"{log.name}.{number}"))
    os.truncate(log, 0)


def copied_away_and_truncated(log: Path, number: int) -> None:
    """The copy is not where the agent reads: what it has not read yet is lost, too."""
    folder = log.with_name("old")
    folder.mkdir(exist_ok=True)
    shutil.copyfile(log, folder / f"{number}")
    os.truncate(log, 0)


def deleted_and_made_again(scene: Scene) -> None:
    """Half a second after the last write."""
    for _ in range(ROTATIONS):
        scene.writer.wait_for(scene.seconds / ROTATIONS)
        with scene.writer.paused():
            time.sleep(0.5)
            scene.stack.app_log.unlink()


def deleted_unread(scene: Scene) -> None:
    """While the agent gets nothing of the processor: what it has open it reads afterwards."""
    process = psutil.Process(scene.supervisor.processes()[scene.stack.agent].pid)
    process.suspend()
    try:
        for _ in range(3):
            scene.writer.wait_for(scene.seconds / 3)
            with scene.writer.paused():
                scene.stack.app_log.unlink()
    finally:
        process.resume()
    scene.watch.until_named()


def queue_full(scene: Scene) -> None:
    """The engine is stopped; the queue holds less than a second of the load."""
    scene.supervisor.stop(ENGINE)
    scene.writer.wait_for(scene.seconds)
    scene.watch.until_named()
    scene.supervisor.start_program(ENGINE)


def many_files(folder: Path, seconds: float, names: Names) -> Outcome:
    """All at once, then one line more in each."""
    mark, logs = marker(), folder / "logs"
    logs.mkdir()
    table = f'[{{service = "many", path = "{logs}/*.log"}}]'
    with (
        native(folder, {("agent", "files"): table}) as stack,
        watching(stack.target, names) as watch,
    ):
        lines = list(burst(FILES * (LINES + 1), mark, service_name="many"))
        for part in (slice(0, FILES * LINES), slice(FILES * LINES, None)):
            for number in range(FILES):
                with (logs / f"app-{number}.log").open("a", encoding="utf-8") as file:
                    file.write("".join(f"{text}\n" for text in lines[part][number::FILES]))
            time.sleep(seconds)
        return measure(stack.target, mark, len(lines)).named_by(watch)


def large_file(folder: Path, seconds: float, names: Names) -> Outcome:
    """There before the first start: 5 MB for each second of the drill's length."""
    mark = marker()
    log = StackUnderTest(folder).app_log
    log.parent.mkdir(parents=True)
    text = line(record("before the first start", mark=mark, number=0, padding="x" * 300))
    count = int(seconds * 5_000_000 / len(text))
    with log.open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(text.replace('"number": 0', f'"number": {number}') + "\n")
    size = f"{log.stat().st_size / 1e6:.0f} MB"
    with native(folder, {}) as stack, watching(stack.target, names) as watch:
        return measure(stack.target, mark, count, size).named_by(watch)


def without_tmpfs() -> str:
    """Why no file system can be mounted here; empty if one can."""
    if os.geteuid() != 0:
        return "needs root, to mount a file system"
    probe = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True,
        check=False,
    )
    return "" if probe.returncode == 0 else "cannot mount a file system here"


def disk_full(folder: Path, seconds: float, names: Names) -> Outcome:
    """A file of somebody else fills the file system of the engine, and is removed."""
    data = StackUnderTest(folder).target.storage_dir(ENGINE)
    data.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", data], check=True)
    try:
        variables = {("limits", "free_disk"): FREE}
        return under_load(_filled, rate=500, variables=variables)(folder, seconds, names)
    finally:
        subprocess.run(["umount", "--lazy", data], check=True)


def _filled(scene: Scene) -> str:
    before = scene.supervisor.processes()[ENGINE].pid
    filler = scene.stack.target.storage_dir(ENGINE) / "filler"
    with filler.open("wb", buffering=0) as file:  # or closing it writes once more, and fails
        try:
            while True:
                file.write(b"\0" * 1_000_000)
        except OSError:
            pass
    scene.writer.wait_for(scene.seconds)
    scene.watch.until_named()
    filler.unlink()
    after = scene.supervisor.processes()[ENGINE].pid
    return "the engine restarted" if after != before else "the engine went on"
