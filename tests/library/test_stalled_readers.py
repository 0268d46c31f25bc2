"""A log call returns in bounded time, whatever stdout is and whoever has made it."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
import threading
import tty
from pathlib import Path

import pytest
from logstack_django.handlers import JsonHandler
from logstack_django.sinks import StreamSink

from logstack_django import sinks
from tests.library.support import (
    OPTIONS,
    ROOT,
    child_environment,
    make_record,
    messages_read_slowly,
    parse,
    run_python,
    setup_code,
    wait_until,
)
from tests.support.require import unavailable

COUNT = 60
# Logs more than any buffer takes; then, after a byte on stdin, until a record is taken again.
CHILD = """
{user}
handler = logging.root.handlers[0]
for number in range({count}): logger.info('%d %s', number, 'x' * 12000)
os.write(2, b'returned')
os.read(0, 1)
taken = False
while not taken:
    before = handler.dropped
    logger.info('last')
    taken = handler.dropped == before
    time.sleep(0.01)
"""
SOCKETS = {
    "a stream socket": socket.SOCK_STREAM,
    "a packet socket": socket.SOCK_SEQPACKET,
    "a datagram socket": socket.SOCK_DGRAM,
}


def make_ends(kind: str) -> tuple[int, int]:
    """Descriptors of reader and writer."""
    if kind == "a pipe":
        return os.pipe()
    if kind == "a terminal":
        reader, writer = pty.openpty()
        tty.setraw(writer)
        return reader, writer
    first, second = socket.socketpair(socket.AF_UNIX, SOCKETS[kind])
    second.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 100_000)
    return first.detach(), second.detach()


def drain(reader: int, received: bytearray) -> None:
    """Read until nobody writes any more."""
    try:
        while chunk := os.read(reader, 65536):
            received.extend(chunk)
    except OSError:  # a terminal that nobody has open any more
        pass


@pytest.mark.parametrize("user", ["the same user", "another user"])
@pytest.mark.parametrize("kind", ["a pipe", "a terminal", *SOCKETS])
def test_a_stalled_reader_does_not_stop_the_application(kind: str, user: str) -> None:
    """The calls return, what was lost is counted and told, and no line is cut in two."""
    if user == "another user" and os.geteuid() != 0:
        unavailable("root", "only root can change to another user")
    change = "os.setgroups([]); os.setgid(65534); os.setuid(65534)" if user[0] == "a" else ""
    code = setup_code(write_timeout_ms=300) + CHILD.format(user=change, count=COUNT)
    reader, writer = make_ends(kind)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=writer,
        stderr=subprocess.PIPE,
        env=child_environment(),
        cwd=ROOT,
    )
    os.close(writer)
    assert process.stdin is not None
    assert process.stderr is not None
    said = bytearray()
    thread = threading.Thread(target=drain, args=(process.stderr.fileno(), said), daemon=True)
    thread.start()
    received = bytearray()
    reading = threading.Thread(target=drain, args=(reader, received), daemon=True)
    try:
        wait_until(lambda: said.endswith(b"returned"), 30, "the calls to return")
        reading.start()
        process.stdin.write(b"x")
        process.stdin.close()
        assert process.wait(20) == 0
        wait_until(lambda: b"log_records_lost" in received and received.endswith(b"\n"))
    finally:
        process.kill()
        process.wait(5)
        thread.join(5)
        process.stderr.close()
    records = [parse(line) for line in bytes(received).splitlines(keepends=True)]
    messages = [record["message"].split()[0] for record in records]
    kept = messages.index("last")
    assert [int(number) for number in messages[:kept]] == list(range(kept))
    lost = [record for record in records if record.get("event_type") == "log_records_lost"]
    assert lost[-1]["dropped"] >= COUNT - kept > 0


@pytest.mark.parametrize("kind", SOCKETS)
def test_a_stalled_socket_does_not_stop_it_without_ctypes(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some builds of Python lack it."""
    monkeypatch.setattr(sinks, "_make_send", lambda: None)
    reader, writer = make_ends(kind)
    handler = JsonHandler(OPTIONS, sink=StreamSink(writer, timeout_s=0.05))
    for number in range(COUNT):
        handler.handle(make_record("%d %s", number, "x" * 12000))
    handler.close()
    os.close(writer)
    os.close(reader)
    assert 0 < handler.dropped < COUNT


def test_workers_of_another_user_do_not_mix_their_lines() -> None:
    """Four processes, one pipe that root has made, a reader that is slower than they are."""
    if os.geteuid() != 0:
        unavailable("root", "only root can change to another user")
    code = setup_code(write_timeout_ms=20_000) + (
        "os.setgid(65534); os.setuid(65534)\n"
        "for _ in range(2): os.fork()\n"
        "for number in range(40): logger.info('%d %d %s', os.getpid(), number, 'x' * 7500)\n"
        "os._exit(0)\n"
    )
    messages = messages_read_slowly(code)
    assert len(messages) == len(set(messages)) == 4 * 40


def test_a_pipe_is_written_without_poll() -> None:
    """Eventlet takes it out of `select`."""
    code = setup_code(write_timeout_ms=10_000) + (
        "import select; del select.poll\n"
        "for number in range(100): logger.info('%d %s', number, 'x' * 6000)\n"
    )
    done = run_python(code)
    assert len([parse(line) for line in done.stdout.splitlines(keepends=True)]) == 100


def test_a_named_pipe_that_nobody_reads_is_no_obstacle(tmp_path: Path) -> None:
    """Opening one waits for a reader; records get there as soon as there is one."""
    path = tmp_path / "log"
    os.mkfifo(path)
    code = setup_code(sink="file", path=str(path)) + (
        "logger.info('lost')\nos.write(1, b'returned')\nos.read(0, 1)\nlogger.info('kept')\n"
        "os.write(1, b'written')\nos.read(0, 1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(),
        cwd=ROOT,
    )
    said = bytearray()
    assert process.stdout is not None
    assert process.stdin is not None
    thread = threading.Thread(target=drain, args=(process.stdout.fileno(), said), daemon=True)
    thread.start()
    try:
        wait_until(lambda: b"returned" in said, 20, "the call to return")
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        process.stdin.write(b"x")
        process.stdin.flush()
        wait_until(lambda: b"written" in said, 20, "the second call to return")
        lines = os.read(reader, 65536).splitlines(keepends=True)
        os.close(reader)
    finally:
        process.kill()
        process.communicate()
        thread.join(5)
    assert parse(lines[0])["message"] == "kept"
    assert parse(lines[1])["dropped"] == 1
