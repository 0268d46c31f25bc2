"""What Python computes from records: the numbers that a query is expected to give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stack.queries import catalogue as queries
from stack.queries.catalogue import ERROR_LEVELS
from tests.support.query_sample import (
    Json,
    Numbers,
    count,
    grouped_values,
    label,
    quantile,
)


def where(**conditions: Any) -> Callable[[list[Json]], list[Json]]:
    """Records whose field has one of the values; `None` means that it has any."""

    def chosen(records: list[Json]) -> list[Json]:
        def fits(record: Json, name: str, expected: Any) -> bool:
            values = expected if isinstance(expected, tuple) else (expected,)
            return name in record if expected is None else record.get(name) in values

        return [r for r in records if all(fits(r, n, w) for n, w in conditions.items())]

    return chosen


def counted(*by: str, **conditions: Any) -> Callable[[list[Json]], Numbers]:
    return lambda records: count(where(**conditions)(records), by)


def rate(*by: str, **conditions: Any) -> Callable[[list[Json]], Numbers]:
    numbers = counted(*by, **conditions)
    return lambda records: {key: value / 7200 for key, value in numbers(records).items()}


def duration(level: float, *by: str) -> Callable[[list[Json]], Numbers]:
    def expected(records: list[Json]) -> Numbers:
        requests = where(event_type="request_finished")(records)
        groups = grouped_values(requests, "duration_ms", by)
        return {key: quantile(values, level) for key, values in groups.items()}

    return expected


def is_error(record: Json) -> bool:
    return record.get("level") in ERROR_LEVELS


def failures_by_route(records: list[Json]) -> Numbers:
    requests = where(event_type="request_finished", route=None)(records)
    return count([record for record in requests if record["status"] >= 500], ("route",))


def status_classes(records: list[Json]) -> Numbers:
    requests = where(event_type="request_finished")(records)
    return count([{"class": f"{r['status'] // 100}xx"} for r in requests], ("class",))


def slowest(records: list[Json]) -> Numbers:
    requests = where(event_type="request_finished")(records)
    return {
        tuple(label(record, name) for name in queries.REQUEST_FIELDS): record["duration_ms"]
        for record in requests
        if record["duration_ms"] >= 400
    }
