"""One message cannot flood the log, and every suppressed record is counted."""

from __future__ import annotations

import logging
import os
import time

import pytest
from logstack_django.handlers import JsonHandler
from logstack_django.options import Options
from logstack_django.rate_limit import MAX_BUCKETS
from logstack_django.sinks import MemorySink

from tests.library.support import OPTIONS, Record, make_record, parse, run_python


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the limiter."""
    return Clock(monkeypatch)


def make(options: Options) -> tuple[logging.Logger, JsonHandler, MemorySink]:
    """A logger whose records pass the limiter of these options."""
    sink = MemorySink()
    handler = JsonHandler(options, sink=sink)
    logger = logging.Logger("flood", logging.DEBUG)
    logger.addHandler(handler)
    return logger, handler, sink


def summaries(sink: MemorySink) -> list[Record]:
    """The records that tell of suppressed ones."""
    found = [parse(line) for line in sink.lines]
    return [record for record in found if record.get("event_type") == "log_records_suppressed"]


def test_nothing_is_suppressed_by_default() -> None:
    """The limit is off unless a rate is set."""
    logger, _, sink = make(OPTIONS)
    for _ in range(500):
        logger.info("same")
    assert len(sink.lines) == 500


def test_a_flood_is_cut_with_an_exact_count(clock: Clock) -> None:
    """A burst passes, then the rate; the summary comes with the next record that passes."""
    logger, _, sink = make(Options(service="s", flood_rate=2, flood_burst=10))
    for number in range(100):
        logger.info("same %d", number)
    assert len(sink.lines) == 10
    clock.now += 1
    logger.info("same %d", 100)
    (summary,) = summaries(sink)
    assert summary["suppressed"] == 90
    assert summary["suppressed_logger"] == "flood"
    assert summary["suppressed_message"] == "same %d"
    assert parse(sink.lines[-1])["message"] == "same 100"


def test_templates_and_loggers_have_buckets_of_their_own(clock: Clock) -> None:
    """One noisy message does not silence another."""
    logger, _, sink = make(Options(service="s", flood_rate=1, flood_burst=1))
    for _ in range(5):
        logger.info("a")
        logger.info("b")
    assert [parse(line)["message"] for line in sink.lines] == ["a", "b"]


@pytest.mark.parametrize("level", [logging.ERROR, logging.CRITICAL])
def test_errors_always_pass(clock: Clock, level: int) -> None:
    """They are never suppressed."""
    logger, _, sink = make(Options(service="s", flood_rate=1, flood_burst=1))
    for _ in range(50):
        logger.log(level, "same")
    assert len(sink.lines) == 50


def test_a_silent_bucket_is_told_after_a_minute(clock: Clock) -> None:
    """Any other record brings it along."""
    logger, _, sink = make(Options(service="s", flood_rate=1, flood_burst=1))
    for _ in range(5):
        logger.info("noisy")
    clock.now += 61
    logger.info("other")
    assert [record["suppressed"] for record in summaries(sink)] == [4]


def test_what_is_untold_is_told_when_the_handler_closes(clock: Clock) -> None:
    """At the end of the process."""
    logger, handler, sink = make(Options(service="s", flood_rate=1, flood_burst=1))
    for _ in range(5):
        logger.info("noisy")
    handler.close()
    assert [record["suppressed"] for record in summaries(sink)] == [4]


def test_the_number_of_buckets_is_bounded_and_no_count_is_lost(clock: Clock) -> None:
    """Templates made by a program are without end."""
    logger, handler, sink = make(Options(service="s", flood_rate=1, flood_burst=1))
    for number in range(MAX_BUCKETS * 2):
        for _ in range(3):
            logger.info(f"template {number}")
    handler.close()
    assert len(handler._floods._buckets) <= MAX_BUCKETS
    assert sum(record["suppressed"] for record in summaries(sink)) == MAX_BUCKETS * 4


def test_a_finalizer_or_signal_handler_that_logs_does_not_block() -> None:
    """Both may run in the middle of a check, in the thread that has the lock."""
    done = run_python(
        "import faulthandler, gc, logging, os, signal, time\n"
        "from logstack_django.handlers import JsonHandler\n"
        "from logstack_django.sinks import MemorySink\n"
        "faulthandler.dump_traceback_later(15, exit=True)\n"
        "sink = MemorySink()\n"
        "logger = logging.Logger('flood')\n"
        "logger.addHandler(JsonHandler({'service': 's', 'flood_rate': 5}, sink=sink))\n"
        "class Noisy:\n"
        "    def __init__(self): self.me = self\n"
        "    def __del__(self): logger.warning('finalized')\n"
        "signal.signal(signal.SIGALRM, lambda *_: logger.warning('signal'))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.005, 0.003)\n"
        "gc.set_threshold(200)\n"
        "end = time.monotonic() + 1\n"
        "while time.monotonic() < end:\n"
        "    Noisy()\n"
        "    logger.info('loop')\n"
        "    logger.info(f'loop {len(sink.lines)}')\n"
        "print('done', flush=True)\n"
        "os._exit(0)\n"
    )
    assert (done.returncode, done.stdout) == (0, b"done\n"), done.stderr.decode()


def test_a_record_inside_of_a_check_passes() -> None:
    """It is not judged, because its own thread has the lock."""
    logger, handler, sink = make(Options(service="s", flood_rate=1, flood_burst=1))
    limiter = handler._floods
    inside = make_record("inside")
    assert limiter._run_locked(lambda: limiter.check(inside)) == (True, [])
    assert limiter._run_locked(limiter.drain) == []
    logger.info("after")
    assert [parse(line)["message"] for line in sink.lines] == ["after"]


def test_a_forked_child_does_not_tell_its_parents_counts() -> None:
    """Each suppressed record is counted once."""
    logger, handler, sink = make(Options(service="s", flood_rate=0.001, flood_burst=1))
    for _ in range(5):
        logger.info("noisy")
    pid = os.fork()
    if not pid:
        handler.close()
        os._exit(len(summaries(sink)))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    handler.close()
    assert [record["suppressed"] for record in summaries(sink)] == [4]
