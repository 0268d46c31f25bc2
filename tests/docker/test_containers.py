"""What containers print arrives parsed: the lines of each kind, and all of them."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from stack.engines import Record, Selection
from stack.records.contract import agent_fields, fields, normalise
from tests.native.test_agent import TRACEBACK
from tests.support.docker_stack import SERVICE, DockerStackUnderTest, long_line, write_lines
from tests.support.native_stack import line, marker, poll, record

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

# Prints `count` records each time that its container starts; the numbers go on after a restart.
NUMBERS = """
import datetime, json, pathlib, sys, time
mark, count, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
state = pathlib.Path("/data/next")
first = int(state.read_text()) if state.exists() else 0
for number in range(first, first + count):
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    print(json.dumps({"timestamp": now, "level": "INFO", "logger_name": "writer",
        "message": f"number {number}", "service_name": "erp", "environment": "dev",
        "request_id": mark, "number": number}))
    if pause and number % 100 == 0:
        time.sleep(pause)
state.write_text(str(first + count))
time.sleep(600)
"""


def numbers(stack: DockerStackUnderTest, mark: str) -> Counter[int]:
    now = datetime.now(UTC)
    selection = Selection(
        since=now - timedelta(hours=1), until=now + timedelta(hours=1), matches={"request_id": mark}
    )
    found = stack.engine.records(selection, limit=100_000)
    return Counter(int(str(item["number"])) for item in found)


def wait_for_numbers(stack: DockerStackUnderTest, mark: str, count: int) -> None:
    """Each number below `count` arrives, and each once."""
    poll(
        lambda: stack.count({"request_id": mark}) >= count,
        lambda: f"{count} records, found {stack.count({'request_id': mark})}\n{stack.logs()}",
        timeout=120,
    )
    assert numbers(stack, mark) == Counter(range(count))


def test_every_field_of_the_contract_arrives_typed(stack: DockerStackUnderTest) -> None:
    """`logstack smoke`: one record of the app's own logging through its container's output."""
    result = stack.run("smoke", "--json")
    assert result.returncode == 0, result.stderr
    own = {field.name for field in fields().values() if field.set_by != "monitor"}
    assert json.loads(result.stdout)["fields"] > len(own - {"truncated", *agent_fields()})


def test_records_text_and_tracebacks_of_a_container(stack: DockerStackUnderTest) -> None:
    """A record comes back as written; text is text of the container's service."""
    mark = marker()
    values = record(
        'a "quoted"\nmessage with \u2028 and 💸', mark=mark, user_id=2**62, duration_ms=0.5
    )
    failed = record("failed", mark=f"{mark}e", exception_type="ValueError", stack_trace=TRACEBACK)
    lines = [line(values), line(failed), f"plain words {mark}", TRACEBACK.format(mark=mark)]
    with stack.writer(*write_lines(*lines)):
        [found] = stack.wait_for({"mark": mark}, 1)
        [found_failed] = stack.wait_for({"mark": f"{mark}e"}, 1)
        text = stack.wait_for({"format": "text"}, 2, grep=mark)
    assert found == {**normalise(values), "host": "test-host"}
    assert found_failed == {**normalise(failed), "host": "test-host"}
    assert [item["message"] for item in text] == lines[2:]
    assert {item["service_name"] for item in text} == {SERVICE}


@pytest.mark.parametrize("size", [17_000, 100_000, 900_000])
def test_a_line_that_docker_cuts_comes_back_whole(stack: DockerStackUnderTest, size: int) -> None:
    """Docker records at most 16 KiB of a line at a time; byte for byte, as JSON and as text."""
    mark = marker()
    values = record(f"{mark} ", mark=mark, padding="PAD")
    start, _, end = line(values).partition("PAD")
    lines = [long_line(start, "x", size, end), long_line(f"{mark} text ", "x", size, "")]
    with stack.writer(*write_lines(*lines)):
        [found] = stack.wait_for({"mark": mark}, 1)
        [text] = stack.wait_for({"format": "text"}, 1, grep=mark)
    assert found == {**normalise({**values, "padding": "x" * size}), "host": "test-host"}
    assert text["message"] == f"{mark} text {'x' * size}"


def test_a_character_that_docker_cuts_is_flagged(stack: DockerStackUnderTest) -> None:
    """Some versions of Docker write both halves of it as U+FFFD; the record says so."""
    mark = marker()
    values = record(mark=mark, padding="PAD")
    start, _, end = line(values).partition("PAD")
    with stack.writer(*write_lines(long_line(start, "xä", 10_000, end))):
        [found] = stack.wait_for({"mark": mark}, 1)
    whole = {**normalise({**values, "padding": "xä" * 10_000}), "host": "test-host"}
    assert found == whole or found["encoding_repaired"] is True


def test_a_restart_in_the_middle_loses_and_doubles_nothing(stack: DockerStackUnderTest) -> None:
    """20,000 records, half of them after `docker restart`."""
    mark = marker()
    with stack.writer(NUMBERS, mark, "10000", "0") as container:
        poll(lambda: b"number 9999" in container.get_logs()[0], "10,000 lines", timeout=60)
        container.get_wrapped_container().restart(timeout=1)
        wait_for_numbers(stack, mark, 20_000)


def test_a_recreated_container_goes_on(stack: DockerStackUnderTest) -> None:
    """The new one has another log file; nothing of the old one is sent again."""
    first, second = marker(), marker()
    for mark in (first, second):
        with stack.writer(NUMBERS, mark, "500", "0"):
            wait_for_numbers(stack, mark, 500)
    assert numbers(stack, first) == Counter(range(500))


def test_dockers_rotation_loses_and_doubles_nothing(stack: DockerStackUnderTest) -> None:
    """The log is rotated every megabyte while the records come."""
    mark = marker()
    rotation = {"max-size": "1m", "max-file": "5"}
    with stack.writer(NUMBERS, mark, "20000", "0.02", **rotation):
        wait_for_numbers(stack, mark, 20_000)


def test_the_context_of_interleaved_requests_is_right(stack: DockerStackUnderTest) -> None:
    """What the engine has of each request is what the app's container printed, field by field."""
    result = stack.run("traffic", "--rate", "60", "--duration", "5", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    printed = [
        json.loads(text)
        for text in stack.runtime.logs("sample_app", 100_000).splitlines()
        if text.startswith("{")
    ]
    written: dict[str, list[Record]] = {}
    for item in printed:
        if "request_id" in item:
            full: Record = {**normalise(item), "host": "test-host"}
            written.setdefault(str(item["request_id"]), []).append(full)
    assert len(written) > 200
    total = sum(map(len, written.values()))

    def arrived() -> dict[str, list[Record]]:
        now = datetime.now(UTC)
        selection = Selection(
            since=now - timedelta(hours=1),
            until=now + timedelta(hours=1),
            matches={"service_name": "erp-backend-api"},
        )
        found: dict[str, list[Record]] = {}
        for item in stack.engine.records(selection, limit=100_000):
            if "request_id" in item:
                found.setdefault(str(item["request_id"]), []).append(item)
        return found

    poll(
        lambda: sum(map(len, arrived().values())) >= total,
        lambda: f"{total} records\n{stack.logs()}",
    )
    found = arrived()
    for request, records in written.items():
        key = "timestamp"
        assert sorted(found[request], key=lambda r: (str(r[key]), json.dumps(r))) == sorted(
            records, key=lambda r: (str(r[key]), json.dumps(r))
        )
