"""Destinations of lines: a file that several processes append to, or a stream such as stdout.

One write call per record. A sink never blocks for long and never raises anything but OSError;
the handler counts what could not be written.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

try:
    import fcntl
except ImportError as error:
    raise ImportError(
        "logstack_django needs Linux or macOS. On Windows, run the application in WSL or in a "
        "container."
    ) from error

# Where a descriptor cannot be made non-blocking, what may be written once `poll` says that there
# is room: a pipe has room for this much (pipe(7)), a terminal at least for one of its buffers.
_PIECE_OF_PIPE = select.PIPE_BUF
_PIECE_OF_TERMINAL = 256


class Sink(Protocol):
    """Takes whole lines."""

    def write(self, line: bytes) -> None:
        """Write one line. OSError when it could not be written."""
        ...

    def close(self) -> None:
        """Close what the sink opened."""
        ...


class FileSink:
    """Appends to a file that several workers share, and follows it when it is renamed.

    Each record is one O_APPEND write, so lines of several processes do not mix. A path that is
    not a regular file, such as a named pipe, is written as a stream.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        self._name = str(self.path)
        self._fd = -1
        self._identity = (-1, -1)
        self._stream: StreamSink | None = None
        self._rest = b""
        self._pid = -1

    def write(self, line: bytes) -> None:
        """Append one line to the file that currently has the name."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            if not _is_open(self._fd, self._identity):
                self._fd, self._identity = -1, (-1, -1)
        try:
            found = os.stat(self._name)  # noqa: PTH116 (twice as fast as Path.stat)
            is_same = (found.st_ino, found.st_dev) == self._identity
        except OSError:
            is_same = False
        if not is_same:
            try:
                self._reopen()
            except OSError:
                # The folder may not be written, or there is no free descriptor: the file that was
                # renamed takes the record, until the next record can open the new one.
                if not _is_open(self._fd, self._identity):
                    raise
        if self._stream is not None:
            self._stream.write(line)
            return
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
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if _is_open(self._fd, self._identity):
            os.close(self._fd)
        self._fd = -1
        self._identity = (-1, -1)

    def _reopen(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        # Without O_NONBLOCK, opening a pipe without a reader would block.
        flags |= os.O_NONBLOCK | os.O_NOCTTY
        fd = os.open(self._name, flags, 0o640)
        self.close()
        # The rest of a record belongs to the file that has its beginning.
        self._rest = b""
        found = os.fstat(fd)
        self._fd, self._identity = fd, (found.st_ino, found.st_dev)
        if not stat.S_ISREG(found.st_mode):
            self._stream = StreamSink(fd)


class StreamSink:
    """Writes to a file descriptor, by default that of stdout.

    On a pipe, a socket or a terminal it waits at most `timeout_s` for a reader that stalls, and
    not at all after that until lines are taken again. Several processes on one pipe take turns by
    a file lock, because the kernel splits lines longer than 4 KiB.
    """

    def __init__(self, fd: int, timeout_s: float = 1.0) -> None:
        self._given = fd
        self._fd = fd
        self._identity = (-1, -1)  # of the descriptor opened beside the given one
        self._timeout_s = timeout_s
        self._stalled = False
        self._busy = False  # whether another process was writing
        self._rest = b""
        self._pid = -1
        self._locking = False
        self._piece = 0  # write no more than this at once, and only when there is room
        # For sockets. Made now, as the process may later be in another root or be another user.
        self._send = _make_send() if _is_socket(fd) else None

    def write(self, line: bytes) -> None:
        """Write one line, waiting a bounded time for room. BlockingIOError if there is none."""
        if not self.try_write(line):
            patience = self.start_waiting()
            while not self.try_write(line):
                patience.wait()

    def try_write(self, line: bytes) -> bool:
        """Write one line if there is room now; whether there was."""
        if self._pid != os.getpid():
            self._prepare()
        self._busy = not self._try_lock()
        if self._busy:
            return False
        try:
            if not self._attempt(line):
                return False
        finally:
            self._unlock()
        self._stalled = False
        return True

    def start_waiting(self) -> Patience:
        """The time in which `try_write` may be called again."""
        return Patience(self, 0.0 if self._stalled else self._timeout_s)

    def wait(self, seconds: float, pause: float) -> None:
        """Wait for room at most so long, or a pause while another process writes. Holds no lock: a
        worker that floods the pipe must not keep the others out."""
        if self._busy:
            time.sleep(min(pause, seconds))
        else:
            self._wait_for_room(seconds)

    def give_up(self) -> None:
        """Note that the reader is stalled: later lines do not wait. Raises BlockingIOError."""
        self._stalled = True
        raise BlockingIOError("the reader is stalled")

    def close(self) -> None:
        """Close the descriptor that was opened beside the given one."""
        if self._fd != self._given and _is_open(self._fd, self._identity):
            os.close(self._fd)
        self._fd = self._given
        self._pid = -1

    def _prepare(self) -> None:
        """Inspect the descriptor, once per process: a fork inherits the state of its parent."""
        self.close()
        found = os.fstat(self._given)
        self._locking = stat.S_ISFIFO(found.st_mode)
        self._rest = b""
        self._piece = 0
        if self._locking or os.isatty(self._given):
            try:
                # A separate open file: O_NONBLOCK on the given one would affect every process
                # that writes to it.
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                self._fd = os.open(f"/proc/self/fd/{self._given}", flags)
                self._identity = (found.st_ino, found.st_dev)
            except OSError:  # owned by the user that the process had before
                self._fd = self._given
                self._piece = _PIECE_OF_PIPE if self._locking else _PIECE_OF_TERMINAL
        if not stat.S_ISSOCK(found.st_mode):
            self._send = None
        elif self._send is None:
            self._piece = sys.maxsize  # whole lines: each write is a packet of some sockets
        self._pid = os.getpid()

    def _try_lock(self) -> bool:
        """Whether this process may write now."""
        if self._locking:
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                return False
            except OSError:  # no locks on this system's pipes
                self._locking = False
        return True

    def _unlock(self) -> None:
        if self._locking:
            fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def _attempt(self, line: bytes) -> bool:
        """Write what is left of the last line, then `line`; False if there was no room at all."""
        if self._rest:
            self._rest = self._finish(self._rest)
            if self._rest:
                return False
        try:
            written = self._put(line)
        except BlockingIOError:
            return False
        if written < len(line):
            # Finish it now, so that no other process writes into the middle of the line.
            self._rest = self._finish(line[written:])
        return True

    def _finish(self, rest: bytes) -> bytes:
        """Write the rest of a line within the time; returns what is still left."""
        deadline = time.monotonic() + (0.0 if self._stalled else self._timeout_s)
        while rest:
            try:
                rest = rest[self._put(rest) :]
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._wait_for_room(left)
        return rest

    def _put(self, data: bytes) -> int:
        """Write as much as there is room for; BlockingIOError if there is none."""
        if self._send is not None:
            return self._send(self._fd, data)
        if not self._piece:
            return os.write(self._fd, data)
        if not self._wait_for_room(0):
            raise BlockingIOError("no room")
        return os.write(self._fd, data[: self._piece])

    def _wait_for_room(self, seconds: float) -> bool:
        """Whether something can be written within the time, or would fail at once."""
        if not hasattr(select, "poll"):  # eventlet removes it
            return bool(select.select([], [self._fd], [], seconds)[1])
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(seconds * 1000))


class Patience:
    """The time for which one line may wait."""

    def __init__(self, sink: StreamSink, seconds: float) -> None:
        self._sink = sink
        self._deadline = time.monotonic() + seconds
        self._pause = 0.0001

    def wait(self) -> None:
        """Wait for another attempt. BlockingIOError when the time is over."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            self._sink.give_up()
        self._sink.wait(left, self._pause)
        self._pause = min(self._pause * 2, 0.002)


def _is_socket(fd: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


def _make_send() -> Callable[[int, bytes], int] | None:
    """send(2) that never waits; None where it cannot be called.

    Not a socket object, which closes the descriptor, applies socket.setdefaulttimeout by setting
    O_NONBLOCK for every process with the descriptor, and is replaced by gevent.
    """
    try:
        import ctypes  # only where stdout is a socket
        import socket

        send = ctypes.CDLL(None, use_errno=True).send
    except (ImportError, OSError, AttributeError):
        return None
    flags = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)
    send.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
    send.restype = ctypes.c_ssize_t

    def send_now(fd: int, data: bytes) -> int:
        sent: int = send(fd, data, len(data), flags)
        if sent < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return sent

    return send_now


def _is_open(fd: int, identity: tuple[int, int]) -> bool:
    """Whether the descriptor is still that of the file: a forked child may have closed all of its
    descriptors (a daemon does), and opened others under their numbers."""
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return (found.st_ino, found.st_dev) == identity


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
        """Do nothing: the lines stay."""
