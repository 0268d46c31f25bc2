"""The handlers: format outside of the lock, write inside, count what could not be written.

Errors never reach the code that logs. Losses are reported as a separate record, at most once a
minute, as soon as writing works again. While a log file cannot be written, and if the process ends
before it can, that record goes to stderr.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import logging.handlers
import os
import sys
import time
from collections.abc import Mapping
from typing import Any, cast

from logstack_django.formatter import JsonFormatter
from logstack_django.options import Options, to_options
from logstack_django.rate_limit import FloodLimiter
from logstack_django.records import LINE_ATTRIBUTE, make_record
from logstack_django.sinks import FileSink, Patience, Sink, StreamSink, stream_descriptor

REPORT_EVERY_S = 60.0
# Held for single writes, which do not wait; longer only while a file's disk does not answer.
LOCK_TIMEOUT_S = 1.0
_MAX_NESTED = 100


class JsonHandler(logging.Handler):
    """Writes records as JSON lines to the sink of the options.

    `sink` is for tests and for applications with a custom sink.
    """

    def __init__(
        self, options: Options | Mapping[str, Any] | None = None, sink: Sink | None = None
    ) -> None:
        super().__init__()
        self.options = options = to_options(options)
        self.sink = sink if sink is not None else make_sink(options)
        self.formatter = JsonFormatter(options)
        self._floods = FloodLimiter(options.flood_rate, options.flood_burst)
        # Records that could not be written; the formatter counts `failures`.
        self.dropped = 0
        self._reported_dropped = 0
        self._reported_failures = 0
        self._last_error = ""
        self._next_report = 0.0
        # Not for a stream that fails: stderr is likely to be the same pipe.
        in_file = sink is None and options.sink == "file"
        self._stderr = StreamSink(stream_descriptor("stderr"), 0.0) if in_file else None
        self._next_stderr_report = 0.0
        self._writing = 0  # pid of the process that is writing
        self._nested: list[bytes] = []

    @property
    def failures(self) -> int:
        """Records that could not be formatted and were replaced by a constant line."""
        return self.formatter.failures if isinstance(self.formatter, JsonFormatter) else 0

    def handle(self, record: logging.LogRecord) -> bool:
        """Format and write one record. Never raises."""
        try:
            if self.filters:
                found = self.filter(record)
                if not found:
                    return False
                if isinstance(found, logging.LogRecord):
                    record = found
            if self._floods.enabled and not self._pass_flood(record):
                return False
            # Outside of the lock: formatting may run application code that takes locks or logs.
            line = self._render(record)
            self._write_locked(line)
        except Exception as error:
            self._count_loss(error)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Format and write one record, for callers other than the logging module."""
        try:
            self._write_locked(self._render(record))
        except Exception as error:
            self._count_loss(error)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Count the loss. The base class prints the arguments, with secrets, to stderr."""
        self._count_loss(sys.exc_info()[1])

    def close(self) -> None:
        """Report what was lost or suppressed, and close the sink."""
        try:
            for summary in self._floods.drain():
                self._write_locked(self._render(summary))
            self._next_report = self._next_stderr_report = 0.0
            self._report_losses()
        except Exception as error:
            self._report_on_stderr(error)
        with contextlib.suppress(Exception):
            self.sink.close()
        super().close()

    def _render(self, record: logging.LogRecord) -> bytes:
        line = record.__dict__.get(LINE_ATTRIBUTE)
        if type(line) is bytes:
            return line
        formatter = self.formatter
        if type(formatter) is JsonFormatter:
            return formatter.format_line(record)
        return (self.format(record) + "\n").encode("utf-8", "backslashreplace")

    def _write_locked(self, line: bytes) -> None:
        patience: Patience | None = None
        while not self._try_write_locked(line):
            # Wait without the lock: other threads log, and lose what nobody reads by themselves.
            stream = cast(StreamSink, self.sink)
            patience = patience or stream.start_waiting()
            patience.wait()

    def _try_write_locked(self, line: bytes) -> bool:
        lock: Any = self.lock
        # At interpreter exit the threads have ended, perhaps one that holds the lock.
        if not lock.acquire(timeout=0 if sys.is_finalizing() else LOCK_TIMEOUT_S):
            raise TimeoutError
        try:
            return self._write(line)
        finally:
            lock.release()

    def _write(self, line: bytes) -> bool:
        """Write a line; False if a stream has no room for it at the moment."""
        pid = os.getpid()
        if self._writing == pid:
            # A finalizer or signal handler logs during a write of the same thread.
            if len(self._nested) < _MAX_NESTED:
                self._nested.append(line)
            else:
                self._count_loss(None)
            return True
        if self._writing:
            # Forked while another thread of the parent was writing.
            self._nested.clear()
        self._writing = pid
        try:
            if not self._put(line):
                return False
            while self._nested and self._put(self._nested[0]):
                del self._nested[0]
        finally:
            self._writing = 0
        if self.dropped != self._reported_dropped or self._reported_failures != self.failures:
            with contextlib.suppress(Exception):  # reported with the next record instead
                self._report_losses()
        return True

    def _put(self, line: bytes) -> bool:
        sink = self.sink
        if isinstance(sink, StreamSink):
            return sink.try_write(line)
        sink.write(line)
        return True

    def _count_loss(self, error: BaseException | None) -> None:
        self.dropped += 1
        if error is not None:
            self._last_error = type(error).__name__
            self._report_on_stderr(error)

    def _report_on_stderr(self, error: BaseException) -> None:
        """Report the losses on stderr, because the log file cannot be written."""
        now = time.monotonic()
        if self._stderr is None or not self._losses() or now < self._next_stderr_report:
            return
        self._next_stderr_report = now + REPORT_EVERY_S
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ""
        with contextlib.suppress(Exception):
            report = self._loss_report(log_file=self.options.path, error=reason)
            self._stderr.write(self._render(report))

    def _report_losses(self) -> None:
        now = time.monotonic()
        losses = self._losses()
        if not losses or now < self._next_report:
            return
        self.sink.write(self._render(self._loss_report()))
        self._next_report = now + REPORT_EVERY_S
        self._reported_dropped += losses[0]
        self._reported_failures += losses[1]

    def _losses(self) -> tuple[int, int] | None:
        """Records lost and records not formatted since the last report in the sink, if any."""
        dropped = self.dropped - self._reported_dropped
        failures = self.failures - self._reported_failures
        return (dropped, failures) if dropped or failures else None

    def _loss_report(self, **fields: Any) -> logging.LogRecord:
        dropped, failures = self._losses() or (0, 0)
        return _loss_record(dropped, failures, self._last_error, **fields)

    def _pass_flood(self, record: logging.LogRecord) -> bool:
        allowed, summaries = self._floods.check(record)
        for summary in summaries:
            self._write_locked(self._render(summary))
        return allowed


class QueueHandler(logging.handlers.QueueHandler):
    """For a queue in front of `JsonHandler`: formats the record before it leaves the thread.

    The listening thread has no request context, and the standard handler drops the exception.
    `dropped` counts the records that did not fit the queue; they are reported when one does.
    """

    dropped = 0
    _reported_dropped = 0
    _last_error = ""
    _next_report = 0.0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Count the loss. The base class prints the arguments, with secrets, to stderr."""
        self.dropped += 1
        self._last_error = type(sys.exc_info()[1]).__name__

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue the record, and a report of earlier losses."""
        super().enqueue(record)
        lost = self.dropped - self._reported_dropped
        if lost and time.monotonic() >= self._next_report:
            with contextlib.suppress(Exception):  # reported with a later record instead
                super().enqueue(self.prepare(_loss_record(lost, 0, self._last_error)))
                self._next_report = time.monotonic() + REPORT_EVERY_S
                self._reported_dropped += lost

    def prepare(self, record: logging.LogRecord) -> Any:
        """A copy of the record with its formatted line."""
        formatter = self.formatter
        if not isinstance(formatter, JsonFormatter):
            return super().prepare(record)
        line = formatter.format_line(record)
        prepared = copy.copy(record)
        prepared.__dict__[LINE_ATTRIBUTE] = line
        # The arguments may change, or may not be picklable.
        with contextlib.suppress(Exception):
            prepared.msg = record.getMessage()
        prepared.args = prepared.exc_info = None
        return prepared


def _loss_record(dropped: int, failures: int, reason: str, **fields: Any) -> logging.LogRecord:
    return make_record(
        logging.ERROR,
        "%d log records were lost, %d could not be formatted",
        (dropped, failures),
        event_type="log_records_lost",
        dropped=dropped,
        unformattable=failures,
        reason=reason,
        **fields,
    )


def make_sink(options: Options) -> Sink:
    """The sink of the options."""
    if options.sink == "file":
        return FileSink(options.path)
    return StreamSink(stream_descriptor(options.sink), options.write_timeout_ms / 1000)
