"""Files and streams: nothing is lost or cut in two, and nothing blocks the application."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from logstack_django.handlers import JsonHandler
from logstack_django.options import Options
from logstack_django.sinks import FileSink, StreamSink

from tests.library.support import (
    OPTIONS,
    ROOT,
    child_environment,
    make_logger,
    messages_read_slowly,
    parse,
    run_python,
    setup_code,
    wait_until,
)

# --- files --------------------------------------------------------------------------------------


def test_a_renamed_or_deleted_file_is_opened_again(tmp_path: Path) -> None:
    """As logrotate does it; the folder is made, too."""
    path = tmp_path / "logs" / "deep" / "app.log"
    handler = JsonHandler(Options(service="s", sink="file", path=str(path)))
    logger = make_logger(handler)
    logger.info("one")
    path.rename(path.with_suffix(".1"))
    logger.info("two")
    path.unlink()
    logger.info("three")
    handler.close()
    assert parse(path.with_suffix(".1").read_bytes())["message"] == "one"
    assert parse(path.read_bytes())["message"] == "three"


def test_four_writers_and_a_renaming_lose_nothing(tmp_path: Path) -> None:
    """Every line parses, and each is there exactly once."""
    path = tmp_path / "app.log"
    code = setup_code(sink="file", path=str(path)) + (
        "for number in range(1500): logger.info('%s %d %s', sys.argv[1], number, 'x' * 300)\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(name)], cwd=ROOT, env=child_environment())
        for name in range(4)
    ]
    renamed = 0
    while any(writer.poll() is None for writer in writers):
        if path.exists() and path.stat().st_size > 100_000 * (renamed + 1) // (renamed + 1):
            path.rename(tmp_path / f"app.log.{renamed}")
            renamed += 1
        time.sleep(0.01)
    assert [writer.wait() for writer in writers] == [0] * 4
    messages = [
        parse(line)["message"].rpartition(" ")[0]
        for file in tmp_path.iterdir()
        for line in file.read_bytes().splitlines(keepends=True)
    ]
    assert renamed > 1
    assert len(messages) == len(set(messages)) == 6000


def test_a_full_disk_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that went out in part is finished first, so that no line is cut in two."""
    path = tmp_path / "app.log"
    handler = JsonHandler(OPTIONS, sink=FileSink(str(path)))
    logger = make_logger(handler)
    room = [100, 0, 0]
    write = os.write

    def write_with_little_room(fd: int, data: bytes) -> int:
        if not room:
            return write(fd, data)
        left = room.pop(0)
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data[:left])

    monkeypatch.setattr(os, "write", write_with_little_room)
    for number in range(4):
        logger.info("number %d", number)
    records = [parse(line) for line in path.read_bytes().splitlines(keepends=True)]
    assert [record["message"] for record in records[:2]] == ["number 0", "number 3"]
    assert records[2]["dropped"] == 2


def test_a_real_full_device_is_survived() -> None:
    """The kernel's own device that is always full."""
    handler = JsonHandler(Options(service="s", sink="file", path="/dev/full"))
    make_logger(handler).info("lost")
    assert handler.dropped == 1
    handler.close()


def test_a_folder_in_place_of_the_file_is_survived(tmp_path: Path) -> None:
    """And so is one that nobody may write to."""
    handler = JsonHandler(Options(service="s", sink="file", path=str(tmp_path)))
    make_logger(handler).info("lost")
    assert handler.dropped == 1


# --- streams ------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocking", [True, False])
def test_a_full_pipe_does_not_stop_the_application(blocking: bool) -> None:
    """The call returns, the loss is counted; nothing is cut in two, and it goes on afterwards."""
    reader, writer = os.pipe()
    os.set_blocking(writer, blocking)
    handler = JsonHandler(OPTIONS, sink=StreamSink(writer, timeout_s=0.05))
    logger = make_logger(handler)
    for number in range(40):
        logger.info("%d %s", number, "x" * 6000)
    assert handler.dropped > 20
    assert os.get_blocking(writer) is blocking
    received = bytearray()

    def drain() -> None:
        while chunk := os.read(reader, 65536):
            received.extend(chunk)

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    wait_until(lambda: len(received) > 20_000)
    logger.info("last")
    handler.close()
    os.close(writer)
    thread.join(10)
    os.close(reader)
    records = [parse(line) for line in bytes(received).splitlines(keepends=True)]
    numbers = [int(record["message"].split()[0]) for record in records[:-2]]
    assert numbers == list(range(len(numbers)))
    assert records[-2]["message"] == "last"
    assert records[-1]["dropped"] == handler.dropped
    assert len(numbers) + handler.dropped == 40


def test_a_slow_reader_loses_nothing() -> None:
    """Waiting a moment for room is better than dropping."""
    reader, writer = os.pipe()
    handler = JsonHandler(OPTIONS, sink=StreamSink(writer, timeout_s=5))
    logger = make_logger(handler)
    received = bytearray()

    def drain() -> None:
        while chunk := os.read(reader, 3000):
            received.extend(chunk)
            time.sleep(0.0005)

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    for number in range(60):
        logger.info("%d %s", number, "x" * 7000)
    handler.close()
    os.close(writer)
    thread.join(10)
    os.close(reader)
    assert handler.dropped == 0
    assert len([parse(line) for line in bytes(received).splitlines(keepends=True)]) == 60


def test_workers_that_share_a_pipe_do_not_mix_their_lines() -> None:
    """Lines longer than the kernel writes at once, and a reader that is slower than the writers."""
    code = setup_code(write_timeout_ms=20_000) + (
        "for _ in range(3): os.fork()\n"
        "for number in range(60): logger.info('%d %d %s', os.getpid(), number, 'x' * 7500)\n"
        "os._exit(0)\n"
    )
    messages = messages_read_slowly(code)
    assert len(messages) == len(set(messages)) == 8 * 60


def test_a_reader_that_is_gone_does_no_harm() -> None:
    """A broken pipe, and a descriptor that was closed."""
    reader, writer = os.pipe()
    handler = JsonHandler(OPTIONS, sink=StreamSink(writer))
    logger = make_logger(handler)
    os.close(reader)
    logger.info("lost")
    handler.close()
    os.close(writer)
    logger.info("lost")
    assert handler.dropped >= 2


def test_stdout_is_the_one_the_process_got() -> None:
    """Celery and others put an object in its place that logs what is printed."""
    code = setup_code() + (
        "class Tee:\n"
        "    def write(self, text): text and logger.info('printed %s', text)\n"
        "    def flush(self): pass\n"
        "sys.stdout = Tee()\n"
        "print('hello', end='')\n"
    )
    done = run_python(code)
    assert parse(done.stdout)["message"] == "printed hello"
    assert done.stderr == b""


def test_a_closed_stdout_does_no_harm() -> None:
    """A daemon has none."""
    done = run_python("import os; os.close(1)\n" + setup_code() + "logger.info('lost')\n")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("kind", ["pipe", "file"])
@pytest.mark.parametrize("reused", [False, True])
def test_a_child_that_closed_its_descriptors_goes_on_logging(
    tmp_path: Path, kind: str, reused: bool
) -> None:
    """As a daemon does; the numbers may be those of other files by then, which are left alone."""
    reader, writer = os.pipe()
    log, other = tmp_path / "log", tmp_path / "other"
    sink: FileSink | StreamSink = StreamSink(writer) if kind == "pipe" else FileSink(str(log))
    sink.write(b"parent\n")
    pid = os.fork()
    if not pid:
        code = 1
        try:
            own = sink._fd
            os.close(own)
            if reused:
                fd = os.open(other, os.O_CREAT | os.O_WRONLY)
                os.dup2(fd, own)
            sink.write(b"first\n")
            sink.write(b"second\n")
            if reused:
                os.write(own, b"foreign")
            sink.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    sink.close()
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        written = pipe.read() if kind == "pipe" else log.read_bytes()
    assert written == b"parent\nfirst\nsecond\n"
    if reused:
        assert other.read_bytes() == b"foreign"
