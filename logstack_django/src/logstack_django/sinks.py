"""Where lines go: a file that several processes append to, or a stream such as stdout.

One write call per record. A sink never blocks for long and never raises anything but OSError;
what could not be written is the handler's to count.
"""

from __future__ import annotations

import fcntl
import os
import select
import stat
import sys
import time
from pathlib import Path
from typing import Protocol


class Sink(Protocol):
    """Takes whole lines."""

    def write(self, line: bytes) -> None:
        """Write one line. OSError when it could not be written."""
        ...

    def close(self) -> None:
        """Let go of what the sink itself opened."""
        ...


class FileSink:
    """Appends to a file that several workers share, and follows it when it is renamed.

    Each record is one O_APPEND write, so lines of several processes do not mix.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        self._name = str(self.path)
        self._fd = -1
        self._identity = (-1, -1)
        self._rest = b""

    def write(self, line: bytes) -> None:
        """Append one line, to the file that has the name now."""
        try:
            found = os.stat(self._name)  # noqa: PTH116 (twice as fast as Path.stat)
        except OSError:
            self._reopen()
        else:
            if (found.st_ino, found.st_dev) != self._identity:
                self._reopen()
        if self._rest:
            # A full disk took only a part of the last record. Finish it first, so that no line
            # is cut in two.
            self._rest = self._rest[os.write(self._fd, self._rest) :]
            if self._rest:
                raise OSError("the disk is full")
        written = os.write(self._fd, line)
        if written < len(line):
            self._rest = line[written:]

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._identity = (-1, -1)

    def _reopen(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(self._name, flags, 0o640)
        self.close()
        # What is left of a record belongs to the file that it was begun in.
        self._rest = b""
        found = os.fstat(fd)
        self._fd, self._identity = fd, (found.st_ino, found.st_dev)


class StreamSink:
    """Writes to a file descriptor, by default that of stdout.

    On a pipe it waits at most `timeout_s` for a reader that stalls, and not at all after that
    until the pipe takes lines again. Several processes on one pipe take turns by a file lock,
    because the kernel splits lines longer than 4 KiB.
    """

    def __init__(self, fd: int, timeout_s: float = 1.0) -> None:
        self._given = fd
        self._fd = fd
        self._timeout_s = timeout_s
        self._stalled = False
        self._rest = b""
        self._pid = -1
        self._is_pipe = False
        self._locking = False

    def write(self, line: bytes) -> None:
        """Write one line, waiting a bounded time for room."""
        if self._pid != os.getpid():
            self._prepare()
        if not self._is_pipe:
            self._write_all(line, 0.0 if self._stalled else self._timeout_s)
            return
        deadline = time.monotonic() + (0.0 if self._stalled else self._timeout_s)
        self._lock(deadline)
        try:
            self._write_all(line, max(0.0, deadline - time.monotonic()))
        finally:
            self._unlock()

    def close(self) -> None:
        """Close the descriptor that was opened beside the given one."""
        if self._fd != self._given:
            os.close(self._fd)
        self._fd = self._given
        self._pid = -1

    def _prepare(self) -> None:
        """Look at the descriptor, once per process: a fork may have inherited another's."""
        if self._fd != self._given:
            os.close(self._fd)
            self._fd = self._given
        mode = os.fstat(self._given).st_mode
        self._is_pipe = self._locking = stat.S_ISFIFO(mode)
        self._rest = b""
        if self._is_pipe:
            try:
                # An open file of our own: O_NONBLOCK set on the given one would surprise
                # everybody else who writes to it.
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
                self._fd = os.open(f"/proc/self/fd/{self._given}", flags)
            except OSError:
                self._fd = self._given
        self._pid = os.getpid()

    def _lock(self, deadline: float) -> None:
        pause = 0.0005
        while self._locking:
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    self._stalled = True
                    raise
                time.sleep(pause)
                pause = min(pause * 2, 0.02)
            except OSError:  # no locks on this system's pipes
                self._locking = False
            else:
                return

    def _unlock(self) -> None:
        if self._locking:
            fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def _write_all(self, line: bytes, timeout_s: float) -> None:
        """Write what is left of the last line, then `line`. BlockingIOError if there is no room."""
        if self._rest:
            self._rest = self._push(self._rest, timeout_s)
            if self._rest:
                raise BlockingIOError("the reader stalls")
        rest = self._push(line, timeout_s)
        if len(rest) == len(line):
            raise BlockingIOError("the reader stalls")
        # A part of a line is out: its rest must come before anything else.
        self._rest = rest

    def _push(self, data: bytes, timeout_s: float) -> bytes:
        """Write as much as goes out within the time; returns the rest."""
        deadline = time.monotonic() + timeout_s
        while data:
            try:
                data = data[os.write(self._fd, data) :]
                self._stalled = False
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0:
                    self._stalled = True
                    break
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll(left * 1000)
        return data


def stream_descriptor(name: str) -> int:
    """Descriptor of stdout or stderr as the process got them.

    Not sys.stdout: Celery replaces it by one that logs what is printed.
    """
    stream = sys.__stderr__ if name == "stderr" else sys.__stdout__
    try:
        return stream.fileno() if stream is not None else (2 if name == "stderr" else 1)
    except (OSError, ValueError):
        return 2 if name == "stderr" else 1


class MemorySink:
    """Keeps lines in a list, for tests."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        """Keep one line."""
        self.lines.append(line)

    def close(self) -> None:
        """Nothing to let go of."""
