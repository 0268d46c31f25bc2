"""A few thousand records that every query is asked about, and what Python counts in them.

Two hours in detail and the day before thinly, by a seeded generator: everything that queries tell
apart occurs, in different numbers, and no record lies on the edge of a step.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from stack.records.timestamps import format_time, nanoseconds
from stack.records.timestamps import rfc3339 as from_nanoseconds

ENVIRONMENT = "parity"
SERVICES = ("erp-backend-api", "erp-worker", "billing")
ROUTES = ("api/invoices/", "api/invoices/<int:pk>/", "api/login/", "api/reports/", None)
USERS = ("ada", "grace", "linus", 'o"brien', "Zoë")
OLD_EXCEPTIONS = ("ValueError", "django.db.utils.IntegrityError", "KeyError")
NEW_EXCEPTIONS = ("invoices.exchange.RateUnavailable", "TimeoutError")
EVENTS = {
    "user_login": "INFO",
    "user_logout": "INFO",
    "user_login_failed": "WARNING",
    "permission_denied": "WARNING",
    "role_changed": "INFO",
    "organization_created": "INFO",
    "data_exported": "INFO",
    "job_finished": "INFO",
    "job_failed": "ERROR",
    "task_failed": "ERROR",
    "log_records_suppressed": "WARNING",
    "deployed": "INFO",
}

Json = dict[str, Any]


@dataclass(frozen=True)
class SampleRecords:
    """The records, oldest first, and the moment at which queries are asked."""

    records: list[Json]
    at: datetime

    def within(self, length: timedelta, before: timedelta = timedelta(0)) -> list[Json]:
        """Records of the last `length`, or of the `length` that ends `before` earlier."""
        end = self.at - before
        first, last = rfc3339(end - length), rfc3339(end)
        return [record for record in self.records if first <= record["timestamp"] < last]


def make_sample(at: datetime, count: int = 4000, environment: str = ENVIRONMENT) -> SampleRecords:
    """Nothing is newer than `at`, which is a whole hour where steps are compared."""
    chance = random.Random(17)
    hours = timedelta(hours=2)
    times = [at - hours * ((number + 0.5) / count) for number in range(count)]
    times += [at - timedelta(hours=2) - timedelta(hours=23) * (n + 0.5) / 500 for n in range(500)]
    fast = at - timedelta(hours=1)
    records = [
        make_record(chance, number, time, new_exceptions=time > fast)
        for number, time in enumerate(sorted(times))
    ]
    return SampleRecords([{**record, "environment": environment} for record in records], at)


def make_record(
    chance: random.Random, number: int, time: datetime, *, new_exceptions: bool
) -> Json:
    base: Json = {
        "timestamp": rfc3339(time - timedelta(microseconds=chance.randrange(1, 1000))),
        "service_name": chance.choices(SERVICES, (6, 3, 1))[0],
        "environment": ENVIRONMENT,
        "host": chance.choice(("app-1", "app-2")),
    }
    if number % 37 == 0:
        return {**base, "message": f"plain words {number}", "format": "text"}
    context = {
        "level": chance.choices(("DEBUG", "INFO", "WARNING"), (1, 8, 1))[0],
        "logger_name": chance.choice(("invoices.views", "organizations.views", "django.request")),
        "request_id": f"req-{number // 3:05d}",
        "trace_id": f"{number // 6 + 1:032x}",
        "username": chance.choices(USERS, (5, 4, 3, 2, 1))[0],
        "organization_id": chance.choices(range(1, 15), range(20, 6, -1))[0],
        "client_ip": f"203.0.113.{chance.choices(range(1, 9), range(9, 1, -1))[0]}",
    }
    kind = number % 10
    if kind < 6:
        return {**base, **context, **request_fields(chance, number)}
    if kind < 8:
        event = chance.choices(list(EVENTS), range(len(EVENTS), 0, -1))[0]
        level = EVENTS[event]
        message = f'{event} "quoted" {{{{x}}}}'
        return {**base, **context, "level": level, "event_type": event, "message": message}
    if kind == 8:
        return {**base, **context, **exception_fields(chance, new_exceptions)}
    level = chance.choices(("INFO", "ERROR", "CRITICAL"), (8, 2, 1))[0]
    return {**base, **context, "level": level, "message": f"Step {number} of Grüße\nand more"}


def request_fields(chance: random.Random, number: int) -> Json:
    route = chance.choices(ROUTES, (5, 4, 3, 2, 1))[0]
    status = chance.choices((200, 201, 302, 401, 403, 404, 500, 503), (70, 8, 4, 3, 2, 6, 4, 3))[0]
    return {
        "event_type": "request_finished",
        "message": f"GET /x/{number} {status}",
        "method": chance.choice(("GET", "POST")),
        "path": f"/x/{number}",
        "status": status,
        # Evenly spread, so that a quantile is the same by every definition within a percent.
        "duration_ms": round(20 + number * 0.1 + chance.random(), 3),
        **({"route": route} if route else {}),
    }


def exception_fields(chance: random.Random, new_exceptions: bool) -> Json:
    types = (*OLD_EXCEPTIONS, *(NEW_EXCEPTIONS if new_exceptions else ()))
    kind = chance.choices(types, range(len(types) + 2, 2, -1))[0]
    return {
        "level": "ERROR",
        "message": "It failed",
        "exception_type": kind,
        "exception_message": "no such thing",
        "stack_trace": f'Traceback (most recent call last):\n  File "x.py"\n{kind}: no such thing',
    }


# --- What Python counts

Labels = tuple[str, ...]
Numbers = dict[Labels, float]


def rfc3339(moment: datetime) -> str:
    return from_nanoseconds(nanoseconds(moment))


def label(record: Json, name: str) -> str:
    value = record.get(name, "")
    return str(value)


def count(records: Iterable[Json], by: Sequence[str]) -> Numbers:
    counter = Counter(tuple(label(record, name) for name in by) for record in records)
    return {labels: float(number) for labels, number in counter.items()}


def share(records: Sequence[Json], part: Callable[[Json], bool], by: Sequence[str]) -> Numbers:
    parts = count(filter(part, records), by)
    return {key: parts.get(key, 0.0) / whole for key, whole in count(records, by).items()}


def quantile(values: Sequence[float], share: float) -> float:
    """By linear interpolation between the two nearest values."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def grouped_values(
    records: Iterable[Json], field: str, by: Sequence[str]
) -> dict[Labels, list[float]]:
    groups: dict[Labels, list[float]] = {}
    for record in records:
        groups.setdefault(tuple(label(record, name) for name in by), []).append(record[field])
    return groups


def field_bytes(record: Json) -> int:
    """What VictoriaLogs counts: the values of all fields, its time always as 35 characters."""
    values = [value for name, value in record.items() if name != "timestamp"]
    return 35 + sum(len(str(value).encode()) for value in values)


def line_bytes(record: Json) -> int:
    """What Loki counts: the line, which is the message alone where it was no JSON."""
    if record.get("format") == "text":
        return len(record["message"].encode())
    written = {name: value for name, value in record.items() if name != "host"}
    return len(json.dumps(written, ensure_ascii=False, separators=(",", ":")).encode())


HEALTH: tuple[Json, ...] = (
    {"component": "otelcol", "up": 1, "queue_bytes": 10, "disk_free_bytes": 7},
    {"component": "otelcol", "queue_bytes": 30, "disk_free_bytes": 5, "disk_full_in_s": 9},
    {"component": "otelcol", "accepted_records_10m": 2, "sent_records_10m": 1, "queue_age_s": 3},
    {"component": "otelcol", "unsendable_records_10m": 0, "unqueued_records_10m": 0},
    {"component": "loki", "rows_taken_10m": 1, "dropped_rows_10m": 0, "lost_rows_10m": 0},
    {"component": "loki", "disk_free_bytes": 9, "dropped_records_10m": 0},
    {"component": "loki", "problem": "disk_full"},
)


def health_records(at: datetime, environment: str) -> list[Json]:
    """Records of a monitor within the ten minutes before `at`."""
    frame = {
        "level": "INFO",
        "logger_name": "logstack.monitor",
        "message": "seen",
        "service_name": "logstack-monitor",
        "environment": environment,
        "event_type": "component_health",
        "host": "logs-1",
    }
    return [
        {**frame, "timestamp": format_time(at - timedelta(minutes=10 - number)), **values}
        for number, values in enumerate(HEALTH)
    ]
