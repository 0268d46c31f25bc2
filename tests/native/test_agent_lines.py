"""Lines that would stop the engine, take others along or be refused: all of them are stored."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from logstack_django.formatter import JsonFormatter
from logstack_django.options import Options

from stack.components.agent_expressions import MOST_NESTED
from stack.engines import Selection
from stack.records.contract import (
    agent_fields,
    fields,
    names,
    normalise,
    rename_reserved,
    reserved_names,
)
from tests.support.native_stack import ON_ENGINES, StackUnderTest, line, marker, poll, record

pytestmark = [pytest.mark.native, ON_ENGINES]

# Names that the receivers and their operators use on the way, and that are a line's own.
ON_THE_WAY = ["stream", "priority", "docker", "aside", "resource", "attributes.message"]
# The names of a container's label, of OTLP, and with a prefix that the agent gives itself.
OTHERS = ["logstack.service", "attributes", "timestamp_", "message", "extra_host"]
VALUES = ["web1", 17, 1.5, True, None, {"a": {"b": 1}, "c": "x"}, ["x", {"y": 1}], [], {}, ""]


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in dict.fromkeys([*reserved_names(), *names("label"), *ON_THE_WAY, *OTHERS])
        if name != "level" and not any(name in field.aliases for field in fields().values())
    ],
)
def test_a_line_with_any_name_is_stored(stack: StackUnderTest, name: str) -> None:
    """Also one that belongs to the agent or the engine: the line's own value moves aside."""
    mark = marker()
    lines = [
        base | {"mark": mark, "number": number, name: value}
        for base in (record(), {"of": "another program"})
        for number, value in enumerate(VALUES, start=len(base) * 100)
    ]
    stack.write(*map(line, lines))
    found = {item["number"]: item for item in stack.wait_for({"mark": mark}, len(lines))}
    assert len(found) == len(lines)
    for values in lines:
        item = found[str(values["number"])]
        own: dict[str, Any] = normalise(rename_reserved(values))
        if not own.get("message"):  # the engine's own way to keep none is tested elsewhere
            own["message"] = item["message"]
        added = {"service_name": "erp-backend-api", "environment": "dev"}
        beside = {field: item[field] for field in ("timestamp", "log.file.path") if field in item}
        assert item == beside | added | own | {"host": "test-host"}
        assert item.get("log.file.path", str(stack.app_log)) == str(stack.app_log)


@pytest.mark.parametrize("name", ["\\u0068ost", "log\\u002efile.path", "\\u005fmsg"])
def test_a_name_may_be_spelled_with_escapes(stack: StackUnderTest, name: str) -> None:
    """The search for names does not miss what JSON knows as the same one."""
    mark = marker()
    plain = json.loads(f'"{name}"')
    stack.write(line(record(mark=mark))[:-1] + f', "{name}": "own"}}')
    [found] = stack.wait_for({"mark": mark}, 1)
    assert found[f"extra_{plain}"] == "own"
    assert found["host"] == "test-host"


def nested(kind: str, depth: int, mark: str) -> str:
    """A record with objects or lists in each other, itself included."""
    begin, end = {"objects": ('{"a":', "}"), "lists": ("[", "]")}[kind]
    inside = begin * (depth - 1) + "1" + end * (depth - 1)
    return f'{line(record(f"nested {mark}", mark=mark))[:-1]}, "deep": {inside}}}'


@pytest.mark.parametrize("kind", ["objects", "lists"])
@pytest.mark.parametrize("depth", [2, 25, MOST_NESTED])
def test_a_nested_value_is_kept_as_json(stack: StackUnderTest, kind: str, depth: int) -> None:
    """As one field, with what it was written as."""
    mark = marker()
    text = nested(kind, depth, mark)
    stack.write(text)
    [found] = stack.wait_for({"mark": mark}, 1)
    written = json.loads(text)
    assert json.loads(str(found["deep"])) == written["deep"]
    assert found == {**normalise(written), "host": "test-host"}


@pytest.mark.parametrize("kind", ["objects", "lists"])
@pytest.mark.parametrize("depth", [MOST_NESTED + 1, 33, 50, 140, 1000, 9000])
def test_a_line_that_is_nested_too_deep_is_kept_as_text(
    stack: StackUnderTest, kind: str, depth: int
) -> None:
    """With its neighbours of the same batch."""
    before, mark, after = marker(), marker(), marker()
    deep = nested(kind, depth, mark)
    stack.write(line(record(mark=before)), deep, line(record(mark=after)))
    for neighbour in (before, after):
        stack.wait_for({"mark": neighbour}, 1)
    [found] = stack.wait_for({"format": "text"}, 1, grep=mark)
    assert found["message"] == deep
    assert found["service_name"] == "erp-backend-api"


@pytest.mark.parametrize("rest", ['{"message": "second"}', " trailing", "]", ' {"a": 1}'])
def test_a_line_with_more_than_one_object_is_kept_whole(stack: StackUnderTest, rest: str) -> None:
    """As text: what comes after the first object is not lost."""
    mark = marker()
    written = line(record(f"first {mark}")) + rest
    stack.write(written)
    [found] = stack.wait_for({"format": "text"}, 1, grep=mark)
    assert found["message"] == written


def test_signs_in_a_nested_value_come_back(stack: StackUnderTest) -> None:
    """Those that Go escapes, and those that look like the end of a name."""
    mark = marker()
    value = {
        "<&>": "a=1&b=<c>",
        "quote": 'say ": " and \\": \\ \\\\',
        "unicode": "Grüße 💸 \\u003c \\\\u003c",
        "numbers": [1, -2.5, 2**62 + 1, True, None],
        "lines": " a\n  b\n",
        'key ": ': 1,
        "empty": [{}, [], ""],
    }
    stack.write(line(record(mark=mark, value=value)))
    [found] = stack.wait_for({"mark": mark}, 1)
    assert json.loads(str(found["value"])) == value
    assert found["value"] == normalise({"value": value})["value"]


def test_a_long_nested_value_is_kept(stack: StackUnderTest) -> None:
    """A line of one megabyte with half a million numbers."""
    mark = marker()
    numbers = list(range(150_000))
    stack.write(line(record(mark=mark, value={"numbers": numbers})))
    [found] = stack.wait_for({"mark": mark}, 1)
    assert json.loads(str(found["value"])) == {"numbers": numbers}


def test_free_keys_do_not_take_other_records_along(stack: StackUnderTest) -> None:
    """A block of VictoriaLogs holds 2000 names; it drops records beyond when it merges blocks."""
    service = marker()
    formatter = JsonFormatter(Options(service=service, environment="dev"))

    def prices(number: int) -> dict[str, int]:
        return {f"sku-{number}-{item}": item for item in range(20)}

    def logged(number: int) -> str:
        made = logging.makeLogRecord({"msg": "prices updated", "name": "t", "levelno": 20})
        made.__dict__["prices"] = prices(number)
        return formatter.format(made)

    lines = [line(record(service_name=service, number=number)) for number in range(1200)]
    for number in range(120):
        raw = record(service_name=service, prices=prices(1000 + number), list=[prices(number)])
        lines[number * 10 : number * 10] = [logged(number), line(raw)]
    stack.write(*lines)
    stack.wait_for({"service_name": service}, len(lines))
    if stack.settings.stack.engine == "victorialogs":
        merge(stack)
    found = stack.wait_for({"service_name": service}, len(lines))
    assert len(found) == len(lines)
    kept = [json.loads(str(item["prices"])) for item in found if "prices" in item]
    assert sorted(len(item) for item in kept) == [20] * 240
    assert prices(0) in kept
    assert prices(1000) in kept


def merge(stack: StackUnderTest) -> None:
    """All parts of VictoriaLogs's partitions to one, to the end."""
    url = stack.target.url("victorialogs", "")
    assert requests.get(f"{url}/internal/force_flush", timeout=30).ok
    assert requests.get(f"{url}/internal/force_merge", timeout=30).ok
    metric = "vl_active_force_merges 0"
    poll(lambda: metric in requests.get(f"{url}/metrics", timeout=10).text, "the end of the merge")


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.mark.parametrize(
    "written",
    [
        timedelta(days=-8),
        timedelta(days=-29),
        timedelta(days=-400),
        timedelta(hours=49),
        timedelta(days=400),
        "1600-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2262-04-12T00:00:00Z",
        "2300-01-01T00:00:00.5+02:00",
        "9999-12-31T23:59:59Z",
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", ["contract", "other"])
def test_a_time_that_the_engine_refuses_is_kept_beside_that_of_arrival(
    stack: StackUnderTest, written: timedelta | str, shape: str
) -> None:
    """A clock that is wrong, or the log files of a month: nothing of it is lost."""
    now = datetime.now(UTC)
    text = stamp(now + written) if isinstance(written, timedelta) else written
    mark = marker()
    values = (record(mark=mark) if shape == "contract" else {"mark": mark}) | {"timestamp": text}
    stack.write(line(values), line(record(mark=mark)))
    found = stack.wait_for({"mark": mark}, 2)
    [changed] = [item for item in found if "timestamp_original" in item]
    assert changed["timestamp_original"] == text
    arrived = datetime.fromisoformat(str(changed["timestamp"]))
    assert now - timedelta(minutes=1) < arrived < now + timedelta(minutes=5)
    assert "timestamp_invalid" not in changed
    assert stack.wait_for({"timestamp_original": text, "mark": mark}, 1) == [changed]


@pytest.mark.parametrize("age", [timedelta(days=5), timedelta(hours=-20)], ids=str)
def test_a_time_within_the_window_stays(stack: StackUnderTest, age: timedelta) -> None:
    """Late records and clocks that are ahead have their own time."""
    mark = marker()
    moment = datetime.now(UTC) - age
    stack.write(line(record(mark=mark) | {"timestamp": stamp(moment)}))

    def there() -> list[Any]:
        around = Selection(
            since=moment - timedelta(hours=1),
            until=moment + timedelta(hours=1),
            matches={"mark": mark},
        )
        return list(stack.engine.records(around, limit=5))

    [found] = poll(there, "the record at its own time")
    assert found["timestamp"] == stamp(moment)
    assert not {*agent_fields()} & {*found}
