"""Output errors never reach the application; losses are counted and reported."""

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
from logstack_django.sinks import MemorySink

from logstack_django import context
from tests.library.support import (
    OPTIONS,
    ROOT,
    child_environment,
    make_logger,
    make_record,
    parse,
    run_python,
    setup_code,
)


class BrokenSink(MemorySink):
    """Fails the given number of times."""

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


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), BrokenPipeError(), BlockingIOError(),
     ValueError("I/O operation on closed file"), RuntimeError("anything"), RecursionError()],
)  # fmt: skip
def test_losses_are_counted_and_reported_when_it_works_again(
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


def test_a_log_file_that_cannot_be_written_is_reported_on_stderr(tmp_path: Path) -> None:
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


def test_losses_of_a_file_are_reported_in_the_file_too(
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


def test_losses_are_reported_at_most_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_full_queue_prints_nothing_and_its_losses_are_reported(
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
