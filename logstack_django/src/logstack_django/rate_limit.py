"""Keeps one message from flooding the log: a token bucket per logger and message template.

Disabled unless a rate is set. ERROR and CRITICAL always pass. Suppressed records are counted, and
the exact count is logged as a separate record.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from logstack_django.records import make_record

MAX_BUCKETS = 1024
SUMMARY_EVERY_S = 60.0
_LOCK_TIMEOUT_S = 0.05

T = TypeVar("T")


class _Bucket:
    __slots__ = ("filled_at", "level", "since", "suppressed", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens = tokens
        self.filled_at = now
        self.suppressed = 0
        self.since = now
        self.level = logging.INFO


# A fork copies a lock that another thread holds; the copy would never be released.
_limiters: weakref.WeakSet[FloodLimiter] = weakref.WeakSet()


def _renew_locks() -> None:
    for limiter in _limiters:
        limiter._lock = threading.Lock()
        limiter._inside = set()
        for bucket in limiter._buckets.values():
            bucket.suppressed = 0  # the parent reports these


os.register_at_fork(after_in_child=_renew_locks)


class FloodLimiter:
    """`rate` records a second (0: no limit) and `burst` at once, per logger and template."""

    def __init__(self, rate: float, burst: int) -> None:
        self.enabled = rate > 0
        self._rate = rate
        self._burst = float(max(burst, 1, int(rate)))
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()
        self._lock = threading.Lock()
        self._inside: set[int] = set()  # ids of threads that hold the lock or wait for it
        self._next_sweep = 0.0
        _limiters.add(self)

    def check(self, record: logging.LogRecord) -> tuple[bool, list[logging.LogRecord]]:
        """Whether the record may pass, and summaries of what was suppressed before it."""
        if record.levelno >= logging.ERROR:
            return True, []
        return self._run_locked(lambda: self._decide(record)) or (True, [])

    def drain(self) -> list[logging.LogRecord]:
        """Summaries of all suppressed records that have not been reported."""
        return self._run_locked(self._summaries) or []

    def _run_locked(self, function: Callable[[], T]) -> T | None:
        """The result of the function under the lock; None if the lock is not available.

        A finalizer or signal handler that logs during a check of its thread would deadlock.
        """
        me = threading.get_ident()
        if me in self._inside:
            return None
        lock, locked = self._lock, False
        try:
            self._inside.add(me)  # before acquiring: a signal may arrive right after it
            locked = lock.acquire(timeout=_LOCK_TIMEOUT_S)
            return function() if locked else None
        finally:
            if locked:
                lock.release()
            self._inside.discard(me)

    def _decide(self, record: logging.LogRecord) -> tuple[bool, list[logging.LogRecord]]:
        template = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        key = (record.name, template[:500])
        now = time.monotonic()
        summaries: list[logging.LogRecord] = []
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self._burst, now)
            if len(self._buckets) > MAX_BUCKETS:
                oldest, evicted = self._buckets.popitem(last=False)
                summaries += _summary(oldest, evicted, now)
        else:
            self._buckets.move_to_end(key)
        filled = bucket.tokens + (now - bucket.filled_at) * self._rate
        bucket.tokens = min(self._burst, filled)
        bucket.filled_at = now
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            summaries += _summary(key, bucket, now)
            allowed = True
        else:
            if not bucket.suppressed:
                bucket.since = now
            bucket.suppressed += 1
            bucket.level = record.levelno
            allowed = False
        if now >= self._next_sweep:
            self._next_sweep = now + SUMMARY_EVERY_S / 4
            for other, found in self._buckets.items():
                if found.suppressed and now - found.since >= SUMMARY_EVERY_S:
                    summaries += _summary(other, found, now)
        return allowed, summaries

    def _summaries(self) -> list[logging.LogRecord]:
        now = time.monotonic()
        return [
            summary
            for key, bucket in self._buckets.items()
            for summary in _summary(key, bucket, now)
        ]


def _summary(key: tuple[str, str], bucket: _Bucket, now: float) -> list[logging.LogRecord]:
    if not bucket.suppressed:
        return []
    record = make_record(
        bucket.level,
        "%d records of logger %s were suppressed",
        (bucket.suppressed, key[0]),
        event_type="log_records_suppressed",
        duration_ms=round((now - bucket.since) * 1000, 3),
        suppressed=bucket.suppressed,
        suppressed_logger=key[0],
        suppressed_message=key[1],
    )
    bucket.suppressed = 0
    bucket.since = now
    return [record]
