"""A terminal for a command, to see what Ctrl-C does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Callable

from tests.support.native_stack import StackUnderTest

CTRL_C = b"\x03"


def interrupt(stack: StackUnderTest, begun: bytes, *arguments: str) -> tuple[int, str]:
    """Type Ctrl-C once a command has printed `begun`: its exit status and all that it printed."""
    process, end = in_terminal(stack, *arguments)
    try:
        printed = read_terminal(end, lambda printed: begun in printed)
        os.write(end, CTRL_C)
        printed += read_terminal(end, lambda printed: False)
        return process.wait(timeout=30), printed.decode("utf-8", "replace")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        os.close(end)


def in_terminal(stack: StackUnderTest, *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
    """A command whose terminal is a new one; its other end."""
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        stack.argv(*arguments),
        env={**stack.environ, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=take_terminal,
        cwd=stack.folder,
    )
    os.close(theirs)
    return process, ours


def read_terminal(end: int, enough: Callable[[bytes], bool], timeout: float = 60) -> bytes:
    """What a command prints until it is enough, or until it has ended."""
    printed = b""
    deadline = time.monotonic() + timeout
    while not enough(printed):
        if not select.select([end], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise AssertionError(f"nothing more within {timeout:g} s after: {printed!r}")
        try:
            data = os.read(end, 65536)
        except OSError:  # it has ended
            return printed
        printed += data
    return printed
