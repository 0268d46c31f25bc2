"""Nothing that goes wrong with the output reaches the application; losses are counted and told."""

from __future__ import annotations

import errno
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from logging.handlers import QueueListener
from pathlib import Path
from typing import Any

import pytest
from logstack_django.handlers import JsonHandler, QueueHandler
from logstack_django.options import Options
from logstack_django.sinks import FileSink, MemorySink, StreamSink

from logstack_django import context
from tests.library.support import (
    OPTIONS,
    ROOT,
    child_environment,
    make_record,
    parse,
    run_python,
    wait_until,
)

SETUP = """
import logging, logging.config, logstack_django, os, sys, threading, time
logging.config.dictConfig(logstack_django.logging_config("child", **{arguments}))
logger = logging.getLogger("child")
"""


def setup_code(**arguments: Any) -> str:
    """The first lines of a child process that logs."""
    return SETUP.replace("{arguments}", repr(arguments))


class BrokenSink(MemorySink):
    """Fails as often as it is told to."""

    def __init__(self, error: Exception, times: int) -> None:
        super().__init__()
        self.error = error
        self.times = times

    def write(self, line: bytes) -> None:
        """Fail, or keep the line."""
        if self.times > 0:
            self.times -= 1
            raise self.error
        super().write(line)


def make_logger(handler: logging.Handler) -> logging.Logger:
    """A logger of its own, with this handler only."""
    logger = logging.Logger("tests.handlers", logging.DEBUG)
    logger.addHandler(handler)
    return logger


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), BrokenPipeError(), BlockingIOError(),
     ValueError("I/O operation on closed file"), RuntimeError("anything"), RecursionError()],
)  # fmt: skip
def test_losses_are_counted_and_told_when_it_works_again(
    error: Exception, capfd: pytest.CaptureFixture[str]
) -> None:
    """As a record of their own, with an exact count, and without a word on stderr."""
    sink = BrokenSink(error, times=3)
    handler = JsonHandler(OPTIONS, sink=sink)
    logger = make_logger(handler)
    for number in range(4):
        logger.info("password=%s", number)
    assert handler.dropped == 3
    kept, report = map(parse, sink.lines)
    assert kept["message"] == "password=[redacted]"
    assert report["event_type"] == "log_records_lost"
    assert report["dropped"] == 3
    assert report["reason"] == type(error).__name__
    assert report["level"] == "ERROR"
    assert capfd.readouterr() == ("", "")


def test_a_log_file_that_cannot_be_written_is_told_on_stderr(tmp_path: Path) -> None:
    """At once and when the process ends, as records with the count, the file and the reason."""
    (tmp_path / "folder").write_text("a file where a folder should be")
    path = str(tmp_path / "folder" / "app.log")
    code = setup_code(sink="file", path=path) + (
        "for number in range(5): logger.info('password=%s', number)\n"
    )
    done = run_python(code)
    first, last = map(parse, done.stderr.splitlines(keepends=True))
    assert (done.returncode, done.stdout) == (0, b"")
    assert (first["dropped"], last["dropped"]) == (1, 5)
    assert last["event_type"] == "log_records_lost"
    assert (last["log_file"], last["error"]) == (path, "File exists")


def test_losses_of_a_file_are_told_in_the_file_too(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What was said on stderr meanwhile does not count as told."""
    folder = tmp_path / "folder"
    folder.write_text("in the way")
    options = Options(service="tests", sink="file", path=str(folder / "app.log"))
    handler = JsonHandler(options)
    logger = make_logger(handler)
    logger.info("lost")
    logger.info("lost")
    folder.unlink()
    logger.info("kept")
    handler.close()
    kept, report = map(parse, (folder / "app.log").read_bytes().splitlines(keepends=True))
    assert (kept["message"], report["dropped"]) == ("kept", 2)
    assert parse(capfd.readouterr().err.encode())["dropped"] == 1


def test_losses_are_told_at_most_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are; the rest comes with the next report, or when the handler closes."""
    sink = BrokenSink(OSError(), times=0)
    handler = JsonHandler(OPTIONS, sink=sink)
    logger = make_logger(handler)
    for _ in range(5):
        sink.times = 2
        for _ in range(3):
            logger.info("x")
    reports = [record for record in map(parse, sink.lines) if "dropped" in record]
    assert [record["dropped"] for record in reports] == [2]
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    logger.info("x")
    assert parse(sink.lines[-1])["dropped"] == 8
    sink.times = 1
    logger.info("x")
    handler.close()
    assert parse(sink.lines[-1])["dropped"] == 1


def test_the_standard_report_of_an_error_is_never_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """It shows message and arguments, secrets and all."""
    handler = JsonHandler(OPTIONS, sink=MemorySink())
    try:
        raise ValueError("password=hunter2")
    except ValueError:
        handler.handleError(make_record("password=hunter2"))
    assert handler.dropped == 1
    assert capfd.readouterr() == ("", "")


def test_a_formatter_of_another_kind_is_used_as_it_is() -> None:
    """Whoever replaces the formatter gets its text, one record per line."""
    sink = MemorySink()
    handler = JsonHandler(OPTIONS, sink=sink)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    make_logger(handler).info("plain \udcff")
    assert sink.lines == [b"INFO plain \\udcff\n"]


def test_filters_of_the_handler_decide_and_may_replace_the_record() -> None:
    """As with every handler."""
    sink = MemorySink()
    handler = JsonHandler(OPTIONS, sink=sink)
    handler.addFilter(lambda record: "secret" not in record.msg)
    logger = make_logger(handler)
    logger.info("secret")
    logger.info("plain")
    assert len(sink.lines) == 1


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
        "pids = [os.fork() for _ in range(1)]\n"
        "for _ in range(2): os.fork()\n"
        "for number in range(60): logger.info('%d %d %s', os.getpid(), number, 'x' * 7500)\n"
        "os._exit(0)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=child_environment(),
    )
    assert process.stdout is not None
    received = bytearray()
    while chunk := os.read(process.stdout.fileno(), 5000):
        received.extend(chunk)
    process.stdout.close()
    process.wait(20)
    messages = [parse(line)["message"] for line in bytes(received).splitlines(keepends=True)]
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


# --- processes ----------------------------------------------------------------------------------


def test_a_fork_while_another_thread_logs_does_not_hang() -> None:
    """100 children, each writes its line within a second and ends without clean-up."""
    code = setup_code() + (
        "stop = threading.Event()\n"
        "def work():\n"
        "    while not stop.is_set(): logger.info('parent %s', 'x' * 200)\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "for number in range(100):\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        logger.info('child %d', number)\n"
        "        os._exit(0)\n"
        "    deadline = time.monotonic() + 10\n"
        "    while not os.waitpid(pid, os.WNOHANG)[0]:\n"
        "        assert time.monotonic() < deadline, number\n"
        "        time.sleep(0.001)\n"
        "stop.set()\n"
    )
    # Python warns about forks with threads, which is the point here.
    code = "import warnings; warnings.simplefilter('ignore')\n" + code
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, b"")
    messages = [parse(line)["message"] for line in done.stdout.splitlines(keepends=True)]
    children = [message for message in messages if message.startswith("child")]
    assert sorted(children) == sorted(f"child {number}" for number in range(100))


def test_the_last_record_before_an_exit_is_written() -> None:
    """os._exit runs nothing, so nothing may be waiting in a buffer."""
    done = run_python(setup_code() + "logger.info('last')\nos._exit(0)\n")
    assert parse(done.stdout)["message"] == "last"


def test_a_killed_process_loses_nothing_that_was_logged() -> None:
    """SIGTERM in the middle of a burst: what the program counted is there."""
    code = setup_code() + (
        "number = 0\n"
        "while True:\n"
        "    logger.info('%d', number)\n"
        "    os.write(2, b'%d\\n' % number)\n"
        "    number += 1\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=child_environment(),
    )
    assert process.stdout is not None
    first = b""
    while first.count(b"\n") < 50:
        first += os.read(process.stdout.fileno(), 1000)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    lines = (first + out).splitlines(keepends=True)
    assert len(lines) >= len(err.splitlines()) > 0
    assert all(parse(line) for line in lines)


def test_logging_from_finalizers_and_at_exit_raises_nothing() -> None:
    """From __del__, also while a record is written, from atexit, and from a daemon thread."""
    code = setup_code() + (
        "import atexit, gc\n"
        "class Noisy:\n"
        "    def __init__(self): self.me = self\n"
        "    def __del__(self): logger.info('finalized')\n"
        "    def __repr__(self):\n"
        "        logger.info('inside of a text')\n"
        "        return 'noisy'\n"
        "atexit.register(lambda: logger.info('at exit'))\n"
        "gc.set_threshold(5)\n"
        "for _ in range(50): logger.info('%s', Noisy())\n"
        "def work():\n"
        "    while True: logger.info('daemon')\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "kept = Noisy()\n"
        "logging.shutdown()\n"
        "logger.info('after the shutdown')\n"
    )
    done = run_python(code)
    assert done.stderr == b""
    assert done.returncode == 0
    lines = done.stdout.splitlines(keepends=True)
    messages = [json.loads(line)["message"] for line in lines if line.endswith(b"\n")]
    assert messages.count("noisy") == 50
    assert messages.count("inside of a text") >= 50
    assert "at exit" in messages


def test_a_lock_of_the_application_cannot_deadlock_with_the_handlers() -> None:
    """Text is made outside of the handler's lock."""
    lock = threading.Lock()
    handler = JsonHandler(OPTIONS, sink=MemorySink())
    logger = make_logger(handler)
    entered = threading.Event()

    class Locked:
        def __str__(self) -> str:
            entered.set()
            with lock:
                return "locked"

    with lock:
        thread = threading.Thread(target=lambda: logger.info("%s", Locked()))
        thread.start()
        assert entered.wait(5)
        logger.info("meanwhile")  # would wait forever for the handler's lock
        assert handler.dropped == 0
    thread.join(5)
    assert not thread.is_alive()


# --- queues -------------------------------------------------------------------------------------


def test_a_record_through_a_queue_is_the_same_line() -> None:
    """Context, exception and arguments as they were when it was logged."""
    direct, queued = MemorySink(), MemorySink()
    records: queue.SimpleQueue[Any] = queue.SimpleQueue()
    front = QueueHandler(records)
    handler = JsonHandler(OPTIONS, sink=queued)
    front.setFormatter(handler.formatter)
    logger = make_logger(front)
    logger.addHandler(JsonHandler(OPTIONS, sink=direct))
    listener = QueueListener(records, handler)
    listener.start()
    changing = ["before"]
    with context(request_id="abcdef12"):
        try:
            raise ValueError("bad")
        except ValueError:
            logger.exception("Failed %s", changing)
    changing.append("after")
    listener.stop()
    assert queued.lines == direct.lines
    assert parse(queued.lines[0])["exception_type"] == "ValueError"


def test_a_full_queue_prints_nothing_and_its_losses_are_told(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The standard handler prints the arguments, secrets and all, to stderr."""
    records: queue.Queue[Any] = queue.Queue(2)
    front = QueueHandler(records)
    sink = MemorySink()
    handler = JsonHandler(OPTIONS, sink=sink)
    front.setFormatter(handler.formatter)
    logger = make_logger(front)
    for _ in range(5):
        logger.info("login %s", {"password": "hunter2"})
    assert front.dropped == 3
    assert capfd.readouterr() == ("", "")
    while not records.empty():
        records.get()
    logger.info("room again")
    logger.info("no room")  # beside the report
    while not records.empty():
        handler.handle(records.get())
    first, report = map(parse, sink.lines)
    assert first["message"] == "room again"
    assert (report["event_type"], report["dropped"], report["reason"]) == (
        "log_records_lost", 3, "Full")  # fmt: skip
    assert front.dropped == 4


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
