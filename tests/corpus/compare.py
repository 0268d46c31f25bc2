"""What differs between the records of a case and those that came back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from stack.engines import Record
from tests.corpus.cases import ANY, Case, Moment
from tests.corpus.run import NOTED_AFTER, SERVICE, Outcome

# Every record has them unless the case says otherwise.
ALWAYS = {"service_name": SERVICE, "environment": "staging", "host": "app-1"}
# They say that something was odd or no JSON: only where the case expects them.
FLAGS = (
    *("format", "encoding_repaired", "timestamp_original", "timestamp_invalid"),
    "level",
)
MISSING = "(no such field)"
# A clock of the agent and one of the engine, and the time between reading and storing.
SLACK = timedelta(seconds=5)


def differences(case: Case, outcome: Outcome) -> list[str]:
    """Sentences; none when each expected record came back once and no other did."""
    now = outcome.moments[case.id]
    found = list(outcome.records.get(case.id, []))
    said = []
    if len(found) != len(case.records):
        said.append(f"expected {len(case.records)} records, got {len(found)}")
    own_times = iter(case.own_times(now))
    rest = found
    for expected, source in zip(case.expected(now), case.times(), strict=True):
        own = next(own_times, "") if source == "own" else ""
        own = expected.pop("timestamp", own)
        if not rest:
            said.append(f"no record for {expected}")
            continue
        compared = [
            (
                of_record(case, {**ALWAYS, **expected}, record)
                + of_time(source, own, record, now, outcome),
                n,
            )
            for n, record in enumerate(rest)
        ]
        least, number = min(compared, key=lambda item: len(item[0]))
        said += least
        rest = [record for n, record in enumerate(rest) if n != number]
    return [*said, *(f"also got {record}" for record in rest)]


def fault(case: Case, found: list[str], reason: str | None) -> str:
    """What is wrong with a case's differences; `reason`: why the agent cannot do it."""
    if reason is None:
        return "\n".join([f"{case.id} ({case.source})", *found]) if found else ""
    return "" if found else f"{case.id} passes: remove it from cannot.toml ({reason})"


def of_record(case: Case, expected: Mapping[str, Any], record: Record) -> list[str]:
    # Whether an access log's line has a level is left open.
    flags = [name for name in FLAGS if name != "level" or expected.get("format") != "access"]
    names = dict.fromkeys([*expected, *flags])
    said = [
        f"{name}: expected {expected.get(name, MISSING)!r}, got {record.get(name, MISSING)!r}"
        for name in names
        if not is_same(expected.get(name, MISSING), record.get(name, MISSING))
    ]
    said += [
        f"{name}: expected no such field, got {record[name]!r}"
        for name in case.absent
        if name in record
    ]
    values = "\n".join(map(str, record.values()))
    said += [f"expected {text!r} nowhere" for text in case.hidden if text in values]
    return said + [f"expected {text!r} somewhere" for text in case.somewhere if text not in values]


def is_same(expected: Any, got: Any) -> bool:
    """Equal and of one type: 200 is not "200". A whole number may come back without its point."""
    if expected == ANY:
        return True
    numbers = isinstance(expected, int | float) and isinstance(got, int | float)
    same_type = type(expected) is type(got) or (numbers and not isinstance(got, bool))
    return bool(same_type and expected == got)


def of_time(source: str, own: str, record: Record, now: int, outcome: Outcome) -> list[str]:
    stamp = str(record.get("timestamp"))
    if own:
        return [] if stamp == own else [f"timestamp: expected its own, {own}, got {stamp}"]
    if source == "source":
        first, last = (Moment(now + NOTED_AFTER + ns).as_contract() for ns in (0, 10**9))
        is_noted = first <= stamp <= last
        return [] if is_noted else [f"timestamp: expected {first} of the source, got {stamp}"]
    moment = datetime.fromisoformat(stamp)
    arrived = outcome.started - SLACK < moment < outcome.ended + SLACK
    return [] if arrived else [f"timestamp: expected that of its arrival, got {stamp}"]
