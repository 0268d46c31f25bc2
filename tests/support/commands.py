"""`logstack` commands in this process: an interpreter takes longer to start than most of them.

`python -m tests.support.commands 2026-01-31T02:30+00:00 archive run` is one in its own process, for
which it is that time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from datetime import datetime
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import typer

from stack.cli.main import build_app, run
from stack.records.timestamps import Clock

# Exit status, standard output and standard error of one command: the fixture `logstack`.
Logstack = Callable[..., tuple[int, str, str]]


def run_here(
    arguments: tuple[str, ...],
    environ: Mapping[str, str],
    folder: Path,
    now: datetime | None = None,
) -> subprocess.CompletedProcess[str]:
    """One command as the launcher runs it: its exit status and what it printed.

    For tests of what a command does and prints; where signals, an end that is forced or memory
    matter, start a process. `now` is its current time; None: the clock's.
    """
    printed, remarks = (TextIOWrapper(BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with (
        _environment(environ, ["logstack", *arguments]),
        _signal_handlers(),
        chdir(folder),
        redirect_stdout(printed),
        redirect_stderr(remarks),
    ):
        try:
            run(_clock(now))
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return subprocess.CompletedProcess(arguments, code, _text(printed), _text(remarks))


def _clock(now: datetime | None) -> Clock | None:
    return (lambda: now) if now else None


def _text(stream: TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


@contextmanager
def _environment(environ: Mapping[str, str], argv: list[str]) -> Iterator[None]:
    before, sys_argv = dict(os.environ), sys.argv
    try:
        _replace(environ)
        sys.argv = argv
        yield
    finally:
        _replace(before)
        sys.argv = sys_argv


def _replace(environ: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(environ):
        del os.environ[name]
    os.environ.update(environ)


@contextmanager
def _signal_handlers() -> Iterator[None]:
    """The launcher's end with the command."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def command_names() -> list[str]:
    """Every command, those of groups as `group command`, also one that somebody adds."""

    def below(command: Any, path: str) -> Iterator[str]:
        children = getattr(command, "commands", None)
        if children is None:
            yield path
        for name, child in (children or {}).items():
            yield from below(child, f"{path} {name}".strip())

    return sorted(below(typer.main.get_command(build_app()), ""))


if __name__ == "__main__":
    run(_clock(datetime.fromisoformat(sys.argv.pop(1))))
