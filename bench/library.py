"""The cost of a log record: this library compared with others for Django.

`python -m bench.library` prints a table. All cases are measured in turns in one process, so that
the ratios are valid on a shared machine; the microseconds are not portable.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import io
import json
import logging
import os
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from decimal import Decimal
from typing import Any

from logstack_django.contexts import Context, current
from logstack_django.formatter import JsonFormatter
from logstack_django.handlers import JsonHandler
from logstack_django.options import Options
from logstack_django.sinks import StreamSink
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import use_span

from bench import library_peers as peers

CONTEXT = {
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "request_id": "f6e5d4c3b2a19f8e7d6c5b4a39281706",
    "user_id": 123,
    "username": "admin_user",
    "organization_id": 45,
    "session_id": "9b2c1d0e8f7a6b5c4d3e2f1a0b9c8d7e",
    "client_ip": "192.168.1.100",
    "tenant": "acme",
}
EXTRAS = {"event_type": "organization_created", "duration_ms": 55.6, "plan": "enterprise"}
MESSAGE, ARGUMENTS = "Organization %s created by %s", ("ABC Corporation", "admin_user")
REPEATS = 9
TURNS = 20
FIRST = " (first record of a request)"
# As applications write them: message, arguments, extra.
MIX: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...] = (
    ("Order %s saved", (4711,), {}),
    (
        "GET https://api.example.com/v1/orders/%d?page=2 returned %s",
        (42, 200),
        {"duration_ms": 31.5},
    ),
    ("Job done at 10:30, next run at 11:30", (), {}),
    ("Import finished: rows=%d errors=%d file=%s", (1200, 3, "orders.csv"), {}),
    ("Price changed", (), {"old": Decimal("19.90"), "new": Decimal("21.50")}),
    ("Payload accepted", (), {"payload": {"order": 7, "lines": [{"sku": "A-1", "count": 2}]}}),
    ("Cache miss for %s", ("org:45:permissions",), {}),
    ("Sent mail to %s", ("ann@example.com",), {"template": "welcome"}),
    ("93.5% of the quota is used", (), {"used_percent": 93.5}),
    ("Report built", (), {"day": datetime.date(2026, 1, 2), "report_id": uuid.UUID(int=2**100)}),
    ("User %s (%s) signed in from %s", ("ann", 12, "192.0.2.7"), {}),
    ("Retrying in %.1f s: connection to db-2.internal:5432 refused", (2.5,), {}),
    ("Invoice INV-2026-001234 for 1,234.50 EUR created", (), {"event_type": "invoice_created"}),
    ("Skipped 3 of 10 rows", (), {}),
    ("Organization %s created by %s", ("ABC Corporation", "admin_user"), EXTRAS),
    ("Webhook delivered", (), {"url": "https://example.com/hooks/orders", "attempt": 1}),
    ("Feature new-checkout enabled for 5 tenants", (), {}),
    ("Query took 120 ms: SELECT id, name FROM orders WHERE status = 3", (), {}),
    ("Stock of sku=%r is low", ("A-1",), {"left": 2}),
    ("Lock acquired", (), {"key": "reports:daily"}),
)
Case = Callable[[], Any]


def measure(cases: dict[str, Case], repeats: int, number: int) -> dict[str, float]:
    """Microseconds of CPU time per call of each case; the cases take turns.

    CPU time of this thread, and of many short turns the one that a tenth of them stays below: the
    machine may be shared, and other processes take the caches from a turn.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    short = max(number // TURNS, 1)
    for case in cases.values():
        case()
    gc.collect()
    gc.disable()
    try:
        for _ in range(repeats * TURNS):
            for name, case in cases.items():
                started = time.thread_time()
                for _ in range(short):
                    case()
                times[name].append((time.thread_time() - started) / short * 1e6)
    finally:
        gc.enable()
    return {name: statistics.quantiles(found, n=10)[0] for name, found in times.items()}


def make_record(with_context: bool, error: BaseException | None = None) -> logging.LogRecord:
    """A record as logging creates it; other libraries read the context from its attributes."""
    info = (type(error), error, error.__traceback__) if error is not None else None
    level = logging.ERROR if error is not None else logging.INFO
    record = logging.LogRecord("organizations.views", level, __file__, 1, MESSAGE, ARGUMENTS, info)
    record.__dict__.update(CONTEXT if with_context else {})
    record.__dict__.update(EXTRAS)
    return record


def deep_error(frames: int = 13) -> BaseException:
    """An exception that was raised `frames` calls deep, in this file."""

    def descend(left: int) -> None:
        if left <= 1:
            raise ValueError("Invalid input provided.")
        descend(left - 1)

    try:
        descend(frames - 1)
    except ValueError as error:
        return error
    raise AssertionError


def mix_cases() -> dict[str, Case]:
    """Formatting of MIX, in microseconds for one round of all messages; half in a live span."""
    records = []
    for message, args, extra in MIX:
        record = logging.LogRecord("orders.views", logging.INFO, __file__, 1, message, args, None)
        record.__dict__.update(extra)
        records.append(record)
    peer_records = [
        logging.makeLogRecord({**CONTEXT, **EXTRAS, **vars(found)}) for found in records
    ]
    span = TracerProvider().get_tracer("bench").start_span("request")

    def formatting(format_one: Callable[[logging.LogRecord], Any], given: list[Any]) -> Case:
        def case() -> None:
            for record in given[:10]:
                format_one(record)
            with use_span(span):
                for record in given[10:]:
                    format_one(record)

        return case

    own = JsonFormatter(Options(service="erp-backend-api", environment="production"))
    cases = {
        name: formatting(found.format, peer_records) for name, found in peers.formatters().items()
    }
    cases["logstack_django"] = formatting(own.format_line, records)
    return cases


def format_cases(error: BaseException | None = None) -> dict[str, Case]:
    """Formatting alone, of one record again and again."""
    record = make_record(True, error)
    own_record = make_record(False, error)

    def formatting(formatter: logging.Formatter) -> Case:
        def case() -> None:
            record.exc_text = None
            formatter.format(record)

        return case

    own = JsonFormatter(Options(service="erp-backend-api", environment="production"))
    cases = {name: formatting(found) for name, found in peers.formatters().items()}
    cases.update(peers.structlog_cases(MESSAGE % ARGUMENTS, {**CONTEXT, **EXTRAS}, error))
    cases["logstack_django"] = lambda: own.format_line(own_record)
    if error is None:

        def first_record() -> None:
            current.set(Context(CONTEXT))
            own.format_line(own_record)

        cases[f"logstack_django{FIRST}"] = first_record
    return cases


_peer_context: ContextVar[dict[str, Any]] = ContextVar("bench")


class _ContextFilter(logging.Filter):
    """Adds the context to a record for the other libraries."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.__dict__.update(_peer_context.get())
        return True


def end_to_end_cases() -> dict[str, Case]:
    """From logger.info to a write to the null device."""
    cases: dict[str, Case] = {}
    extra = dict(EXTRAS)

    def logging_through(name: str, handler: logging.Handler) -> Case:
        logger = logging.Logger(f"bench.{name}", logging.INFO)
        logger.addHandler(handler)
        return lambda: logger.info(MESSAGE, *ARGUMENTS, extra=extra)

    for name, formatter in peers.formatters().items():
        handler = logging.StreamHandler(open(os.devnull, "w"))  # noqa: PTH123, SIM115
        handler.setFormatter(formatter)
        handler.addFilter(_ContextFilter())
        cases[name] = logging_through(name, handler)
    null = os.open(os.devnull, os.O_WRONLY)
    options = Options(service="erp-backend-api", environment="production")
    own = JsonHandler(options, sink=StreamSink(null))
    cases["logstack_django"] = logging_through("own", own)
    return cases


def disabled_cases() -> dict[str, Case]:
    """A call below the level of the logger."""
    plain = logging.Logger("bench.plain", logging.INFO)
    plain.addHandler(logging.StreamHandler(io.StringIO()))
    own = logging.Logger("bench.own", logging.INFO)
    own.addHandler(JsonHandler(Options(service="erp-backend-api")))
    return {
        "stdlib text": lambda: plain.debug(MESSAGE, *ARGUMENTS),
        "logstack_django": lambda: own.debug(MESSAGE, *ARGUMENTS),
    }


def run(repeats: int = REPEATS) -> dict[str, dict[str, float]]:
    """Every group of measurements: {group: {library: microseconds}}."""
    current.set(Context(CONTEXT))
    _peer_context.set(CONTEXT)
    return {
        "INFO format": measure(format_cases(), repeats, 2000),
        "INFO format, 20 messages": measure(mix_cases(), repeats, 100),
        "INFO end to end": measure(end_to_end_cases(), repeats, 2000),
        "ERROR format, 13 frames": measure(format_cases(deep_error()), repeats, 200),
        "disabled level": measure(disabled_cases(), repeats, 20_000),
    }


def verdicts(results: dict[str, dict[str, float]]) -> list[tuple[str, float, float]]:
    """(figure, ratio found, ratio allowed) for each figure that the project promises."""
    own = "logstack_django"
    info, mix, end, error, off, served = results.values()
    fastest = min(time for name, time in info.items() if name.startswith("python-json-logger"))
    return [
        ("INFO format / stdlib text", info[own] / info["stdlib text"], 1.5),
        ("INFO format, 20 messages / stdlib text", mix[own] / mix["stdlib text"], 2.0),
        ("first record of a request / a later one", info[f"{own}{FIRST}"] / info[own], 2.0),
        ("INFO format / fastest python-json-logger", info[own] / fastest, 1.0),
        ("INFO end to end / python-json-logger orjson", end[own] / end[peers.PJL_ORJSON], 1.0),
        # The standard library has computed caret positions, which cost most, since 3.11.
        ("ERROR format / stdlib text", error[own] / error["stdlib text"], 0.1),
        ("disabled level / stdlib", off[own] / off["stdlib text"], 1.1),
        ("middleware, µs of a request", served[own] - served["no log middleware"], 50.0),
    ]


def report(
    results: dict[str, dict[str, float]],
    queries: dict[str, int],
    checked: list[tuple[str, float, float]],
    repeats: int,
) -> str:
    """The tables as text."""
    version = sys.version.split()[0]
    lines = [f"Python {version}, CPU time, the fastest tenth of {repeats * TURNS} turns"]
    for group, times in results.items():
        lines.append(f"\n{group:<46} {'µs':>8} {'to the first':>13}")
        first = next(iter(times.values()))
        for name, found in times.items():
            shown = f" {queries[name]} queries" if group.startswith("middleware") else ""
            lines.append(f"  {name:<44} {found:8.2f} {found / first:12.2f}x{shown}")
    lines.append(f"\n{'figure':<46} {'found':>8} {'at most':>13}")
    for figure, ratio, limit in checked:
        mark = "" if ratio <= limit else "  MISSED"
        lines.append(f"  {figure:<44} {ratio:8.2f} {limit:13.2f}{mark}")
    return "\n".join(lines)


def main(arguments: Sequence[str] = ()) -> int:
    """Print the tables; 1 if a promised ratio was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.library", description=__doc__)
    parser.add_argument("--repeats", type=int, default=REPEATS, help="at least 7")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    repeats = max(options.repeats, 7)
    results = run(repeats)
    results["middleware, per request"], queries = peers.middleware_costs(measure, repeats)
    checked = verdicts(results)
    if options.json:
        text = json.dumps({"microseconds": results, "queries": queries}, indent=2)
    else:
        text = report(results, queries, checked, repeats)
    print(text)  # noqa: T201
    return int(any(ratio > limit for _, ratio, limit in checked))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
