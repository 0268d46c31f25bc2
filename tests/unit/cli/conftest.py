"""A command as the launcher runs it, in folders of the test."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.cli.main import run
from tests.support.commands import Logstack


@pytest.fixture
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Commands find nothing running here, whatever runs in this checkout."""
    for name in os.environ:
        if name.startswith("LOGSTACK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LOGSTACK_PATHS__RUN", str(tmp_path / "run"))
    monkeypatch.setenv("LOGSTACK_PATHS__DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def logstack(
    own_folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Logstack:
    """Runs a command as the launcher does: exit status, standard output, standard error."""

    def call(*arguments: str, **environ: str) -> tuple[int, str, str]:
        for name, text in environ.items():
            monkeypatch.setenv(name, text)
        monkeypatch.setattr(sys, "argv", ["logstack", *arguments])
        with pytest.raises(SystemExit) as caught:
            run()
        assert isinstance(caught.value.code, int)
        return caught.value.code, *capsys.readouterr()

    return call
