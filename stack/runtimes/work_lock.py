"""One command at a time starts, stops or removes the stack of a run folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.settings import ROOT, Settings, SettingsError, variable_name

NAME = "logstack.lock"


@contextmanager
def work_lock(settings: Settings, command: str, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of the run folder; `report` says for whom this command waits.

    The kernel frees the lock of a process that was killed. Raises SettingsError where the folder
    cannot be written to.
    """
    path = (ROOT / settings.paths.run / NAME).absolute()
    descriptor = _open(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"Waiting for {_holder(path)}, which works on the same stack.")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"`logstack {command}` (process {os.getpid()})".encode())
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise SettingsError(
            f"paths.run: expected a folder that can be written to, got {path.parent}: {reason}. "
            f"Name another folder: {variable_name('paths', 'run')}=/some/folder"
        ) from None


def _holder(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") or "another command"
