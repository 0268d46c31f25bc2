"""What VictoriaLogs does not take as it is released: too many names, and names given twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from stack.engines.facts import VL_MOST_FIELDS, VL_STREAM_FIELDS
from tests.native.test_agent_lines import merge
from tests.support.native_stack import StackUnderTest, line, marker, record
from tests.support.otlp import otlp_batch

pytestmark = pytest.mark.native

RECORDS, NAMES = 20_000, 10
STREAM = {"service_name": "s", "environment": "dev", "host": "h"}


def push(stack: StackUnderTest, path: str, data: bytes, **headers: str) -> None:
    url = stack.target.url("victorialogs", path)
    assert requests.post(url, data=data, headers=headers, timeout=60).ok


def lines_of(stack: StackUnderTest, service: str, records: list[dict[str, Any]]) -> None:
    path = "/insert/jsonline?_time_field=timestamp&_msg_field=message&_stream_fields="
    text = "".join(f"{line({**item, 'service_name': service})}\n" for item in records)
    push(stack, path + ",".join(VL_STREAM_FIELDS), text.encode())


def test_no_number_of_names_costs_a_record(stack: StackUnderTest) -> None:
    """Every tenth record has names that no other has; before merges of blocks and after."""
    service = marker()
    free = [f"name-0-{i}" for i in range(NAMES)]
    for start in range(0, RECORDS, 1000):
        batch = [record(number=n) for n in range(start, start + 1000)]
        for n, item in enumerate(batch[::10], start):
            item |= {f"name-{n}-{i}": "1" for i in range(NAMES)}
        lines_of(stack, service, batch)
    stack.wait_for({"service_name": service}, RECORDS)
    merge(stack)
    assert stack.count({"service_name": service}) == RECORDS
    for name in free:
        assert stack.count({"service_name": service, name: "1"}) == 1


def test_records_with_nearly_the_most_names_keep_their_neighbours(stack: StackUnderTest) -> None:
    """Each fills a block of its own."""
    service, most = marker(), VL_MOST_FIELDS - len(record()) - 1
    batch = [
        {**record(number=n), **{f"n{n}-{i}": str(i) for i in range(most if n % 3 == 1 else 0)}}
        for n in range(30)
    ]
    lines_of(stack, service, batch)
    stack.wait_for({"service_name": service}, len(batch))
    merge(stack)
    found = stack.wait_for({"service_name": service}, len(batch))
    assert len(found) == len(batch)
    assert max(map(len, found)) >= most


def twice(where: str) -> Callable[[str], bytes]:
    def batch(service: str) -> bytes:
        stream = list({**STREAM, "service_name": service}.items())
        again = [(name, f"other {value}") for name, value in stream if name != "service_name"]
        resource, attributes = {
            "resource and record": (stream, again),
            "resource": ([*stream, *again], []),
            "record": ([], [*stream, *again, ("a", "1"), ("a", "2")]),
        }[where]
        return otlp_batch(resource, service, attributes)

    return batch


@pytest.mark.parametrize("where", ["resource and record", "resource", "record"])
def test_a_name_of_the_stream_given_twice_does_not_stop_the_engine(
    stack: StackUnderTest, where: str
) -> None:
    """The last value counts. Without the change, VictoriaLogs ends at every start."""
    service, before = marker(), stack.statuses()["victorialogs"]
    headers = {
        "Content-Type": "application/x-protobuf",
        "VL-Stream-Fields": ",".join(VL_STREAM_FIELDS),
    }
    push(stack, "/insert/opentelemetry/v1/logs", twice(where)(service), **headers)
    lines_of(stack, service, [record()])
    found = stack.wait_for({"service_name": service}, 2)
    assert "other h" in [item.get("host") for item in found]
    merge(stack)
    assert stack.count({"service_name": service}) == 2
    assert stack.statuses()["victorialogs"]["restarts"] == before["restarts"]


def test_a_record_with_more_names_than_a_block_takes_does_not_stop_the_engine(
    stack: StackUnderTest,
) -> None:
    """It is refused alone: agents bound the names of a record below that."""
    service, before = marker(), stack.statuses()["victorialogs"]
    path = "/insert/jsonline?_stream_fields=service_name&extra_fields=a=1,b=2"
    for count in range(VL_MOST_FIELDS - 2, 2003):
        values = {f"n{i}": "1" for i in range(count)} | {"service_name": service, "_time": "0"}
        push(stack, path, json.dumps(values).encode())
    lines_of(stack, service, [record(mark=service)])
    stack.wait_for({"mark": service}, 1)
    assert stack.count({"service_name": service}) > 1
    assert stack.statuses()["victorialogs"]["restarts"] == before["restarts"]
