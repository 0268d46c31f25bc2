"""What the agent makes of the lines of a log file, read back from the engine."""

from __future__ import annotations

import json
import logging
import shutil
from typing import Any

import pytest
from logstack_django.formatter import JsonFormatter
from logstack_django.options import Options

from stack.records.contract import normalise
from tests.support.native_stack import ON_EVERY_COMBINATION, StackUnderTest, line, marker, record

pytestmark = [pytest.mark.native, ON_EVERY_COMBINATION]

TRACEBACK = """\
Traceback (most recent call last):
  File "job.py", line 3, in <module>
    run()
  File "job.py", line 2, in run
    raise ValueError("no {mark}")
ValueError: no {mark}"""

CHAINED = """\
Traceback (most recent call last):
  File "job.py", line 3, in run
    {{}}["{mark}"]
KeyError: '{mark}'
The above exception was the direct cause of the following exception:
Traceback (most recent call last):
  File "job.py", line 9, in <module>
    run()
  File "job.py", line 5, in run
    raise OrganizationLocked("{mark}") from error
OrganizationLocked: {mark}"""


def test_every_value_of_a_record_comes_back_typed(stack: StackUnderTest) -> None:
    """Integers beyond 2**53, fractions, truth values, nesting, Unicode and line breaks survive."""
    mark = marker()
    values = record(
        'A "quoted" message\nof two lines with \\ and \u2028 and 💸',
        mark=mark,
        user_id=2**62 + 1,
        organization_id="0017",
        object_id=-3,
        duration_ms=0.1,
        status=200,
        truncated=True,
        nested={"a": {"b": 1}, "list": [1, "two", None]},
        dollar="${HOME} $$ %(x)s",
        spaces="  kept  ",
    )
    stack.write(line(values))
    [found] = stack.wait_for({"mark": mark}, 1)
    if stack.settings.stack.agent == "promtail":  # it names the file of every record
        assert found.pop("log.file.path") == str(stack.app_log)
    assert found == {**normalise(values), "host": "test-host"}


def test_time_is_the_records_own(stack: StackUnderTest) -> None:
    """The engine's time is the time in the record, to the microsecond, not the time of arrival."""
    mark = marker()
    values = record(mark=mark) | {"timestamp": record()["timestamp"][:11] + "00:00:00.000001Z"}
    stack.write(line(values))
    [found] = stack.wait_for({"mark": mark}, 1)
    assert found["timestamp"] == values["timestamp"]


def test_an_empty_message_stays_empty(stack: StackUnderTest) -> None:
    """The engine cannot store an empty message; reading gives it back all the same."""
    mark = marker()
    stack.write(line(record("", mark=mark)))
    [found] = stack.wait_for({"mark": mark}, 1)
    assert found["message"] == ""


@pytest.mark.parametrize(
    "text",
    [
        "plain words {mark}",
        "  indented words {mark}  ",
        "Info: uvicorn says {mark}",
        '{{"message": "cut off {mark}',
        "{{mark: {mark}}}",
        '["a list {mark}"]',
        "null {mark}",
    ],
)
def test_a_line_that_is_no_json_object_is_kept_as_text(stack: StackUnderTest, text: str) -> None:
    """It comes back as it was written, with the labels of its file and `format=text`."""
    mark = marker()
    written = text.format(mark=mark)
    stack.write(written)
    [found] = stack.wait_for({}, 1, grep=mark)
    timestamp = found.pop("timestamp")
    assert timestamp
    assert found.pop("log.file.path", None) == str(stack.app_log)
    assert found == {
        "message": written,
        "service_name": "erp-backend-api",
        "environment": "dev",
        "host": "test-host",
        "format": "text",
    }


@pytest.mark.parametrize("text", [TRACEBACK, CHAINED], ids=["simple", "chained"])
def test_a_plain_traceback_is_one_record(stack: StackUnderTest, text: str) -> None:
    """Also between other lines, which stay records of their own."""
    if text == CHAINED:
        stack.unless_promtail("tracebacks that explain each other are records of their own")
    mark = marker()
    traceback = text.format(mark=mark)
    stack.write(f"before {mark}", *traceback.splitlines(), f"after {mark}", line(record(mark=mark)))
    stack.wait_for({"mark": mark}, 1)
    found = stack.wait_for({"format": "text"}, 3, grep=mark)
    assert sorted(str(item["message"]) for item in found) == sorted(
        [f"before {mark}", traceback, f"after {mark}"]
    )


def test_a_traceback_of_many_frames_is_one_record(stack: StackUnderTest) -> None:
    """As deep as Python goes by itself; the last line names the exception."""
    mark = marker()
    frames = [
        text
        for number in range(900)
        for text in (f'  File "deep.py", line {number}, in call', "    call()", "    ^^^^^^")
    ]
    lines = ["Traceback (most recent call last):", *frames, f"RecursionError: {mark}"]
    stack.write(*lines)
    [found] = stack.wait_for({"format": "text"}, 1, grep=mark)
    assert str(found["message"]).splitlines() == lines


@pytest.mark.parametrize("as_json", [True, False], ids=["JSON", "text"])
def test_a_long_line_of_undecodable_bytes_is_kept(stack: StackUnderTest, as_json: bool) -> None:
    """Each such byte is shown by a sign of three bytes, which may not make the line too long."""
    stack.unless_promtail("the time it takes grows with the square of their number")
    mark = marker()
    written = line(record(f"{mark} BYTES", mark=mark)) if as_json else f"{mark} BYTES"
    with stack.app_log.open("ab") as file:
        file.write(written.encode().replace(b"BYTES", b"a\xff" * 700_000) + b"\n")
    [found] = stack.wait_for({}, 1, grep=mark)
    message = str(found["message"])
    assert message.startswith(f"{mark} a")
    assert message.count("a") - mark.count("a") == 700_000
    assert found["encoding_repaired"] in (True, "true")


def test_a_record_of_many_fields_is_kept(stack: StackUnderTest) -> None:
    """More than the engine takes unless it is told to."""
    mark = marker()
    extra: dict[str, Any] = {f"field_{number}": number for number in range(1500)}
    stack.write(line(record(mark=mark, **extra)))
    [found] = stack.wait_for({"mark": mark}, 1)
    assert {name: str(found[name]) for name in extra} == {k: str(v) for k, v in extra.items()}


@pytest.mark.parametrize(
    "extra",
    [
        {"k" * 300: "long"},
        {"ü" * 70: "wide"},
        {"organizations.serializers.OrganizationSerializer": {
            "organizations.models.OrganizationMembershipManager.create_membership": {"deep": 1}}},
    ],
    ids=["long", "wide", "nested"],
)  # fmt: skip
def test_a_record_of_the_library_with_long_names_is_kept(
    stack: StackUnderTest, extra: dict[str, Any]
) -> None:
    """The engine drops a record that has a name of more than 128 bytes, dots included."""
    mark = marker()
    formatter = JsonFormatter(Options(service="erp-backend-api", environment="dev"))
    made = logging.makeLogRecord({"msg": "long names", "name": "t", "levelno": 20, "mark": mark})
    made.__dict__ |= extra
    stack.write(formatter.format(made))
    [found] = stack.wait_for({"mark": mark}, 1)
    assert found["message"] == "long names"


def test_two_tracebacks_in_a_row_are_two_records(stack: StackUnderTest) -> None:
    """One after the other, with nothing that says that they belong together."""
    first, second = marker(), marker()
    texts = [TRACEBACK.format(mark=first), TRACEBACK.format(mark=second)]
    stack.write(*texts[0].splitlines(), *texts[1].splitlines())
    messages = [stack.wait_for({}, 1, grep=mark)[0]["message"] for mark in (first, second)]
    assert messages == texts


def test_a_traceback_written_in_two_parts_is_one_record(stack: StackUnderTest) -> None:
    """The agent waits a moment for the rest of a traceback."""
    mark = marker()
    lines = TRACEBACK.format(mark=mark).splitlines()
    stack.write(*lines[:3])
    stack.write(*lines[3:])
    found = stack.wait_for({}, 1, grep=mark)
    assert [item["message"] for item in found] == ["\n".join(lines)]


@pytest.mark.parametrize("as_json", [True, False], ids=["JSON", "text"])
def test_a_line_of_one_megabyte_comes_back_whole(stack: StackUnderTest, as_json: bool) -> None:
    """The engine's and the agent's limits lie above it."""
    mark = marker()
    message = f"{mark} {'Grüße ' * 150_000}".strip()
    assert len(message.encode()) > 1_000_000
    stack.write(line(record(message)) if as_json else message)
    [found] = stack.wait_for({}, 1, grep=mark)
    assert found["message"] == message


def test_a_longer_line_is_split_and_none_of_it_is_lost(stack: StackUnderTest) -> None:
    """Beyond the limit the parts arrive one after the other, as text."""
    stack.unless_promtail("it does not split lines, and Loki cuts what is longer than 6 MiB")
    mark = marker()
    whole = (mark * 160_000)[: 4 * 1024 * 1024]
    stack.write(whole)
    found = stack.wait_for({}, 3, grep=mark)
    assert sum(len(str(item["message"])) for item in found) == len(whole)
    assert {item["format"] for item in found} == {"text"}


def test_json_of_another_shape_keeps_its_fields_and_its_line(stack: StackUnderTest) -> None:
    """Labels that it lacks are added; where there is no message the whole line is the message."""
    mark = marker()
    values: dict[str, Any] = {"mark": mark, "said": "by nginx", "status": 502}
    stack.write(line(values))
    [found] = stack.wait_for({"mark": mark}, 1)
    # In Loki the line is the record as it was read, with its labels.
    kept = json.loads(str(found["message"]))
    assert {name: kept[name] for name in values} == values
    assert kept.keys() - values.keys() <= {"service_name", "environment"}
    assert found["status"] == 502
    assert found["service_name"] == "erp-backend-api"
    assert found["environment"] == "dev"
    assert "format" not in found


def test_an_unreadable_time_is_kept_beside_the_time_of_reading(stack: StackUnderTest) -> None:
    """A record is neither dropped nor filed under a wrong time because of its timestamp."""
    mark = marker()
    stack.write(line(record(mark=mark) | {"timestamp": "yesterday"}))
    [found] = stack.wait_for({"mark": mark}, 1)
    assert found["timestamp_invalid"] == "yesterday"
    assert str(found["timestamp"])[:10] == record()["timestamp"][:10]
    assert found["message"] == "hello"


@pytest.mark.parametrize("as_json", [True, False], ids=["JSON", "text"])
def test_bytes_that_are_no_utf8_are_replaced_and_flagged(
    stack: StackUnderTest, as_json: bool
) -> None:
    """Nobody has to guess whether U+FFFD was in the original."""
    mark = marker()
    text = line(record(f"caf? {mark}")) if as_json else f"caf? {mark}"
    stack.write(text.encode().replace(b"caf?", b"caf\xe9"))
    [found] = stack.wait_for({}, 1, grep=mark)
    assert found["message"] == f"caf\ufffd {mark}"
    assert found["encoding_repaired"] is True
    assert ("format" in found) is not as_json


def test_rotation_by_renaming_loses_and_doubles_nothing(stack: StackUnderTest) -> None:
    """Lines written before, during and after the rename arrive once each."""
    mark = marker()
    rotated = stack.app_log.with_name(f"{stack.app_log.name}.1")
    with stack.app_log.open("ab", buffering=0) as file:
        file.write(line(record(mark=mark, number=1)).encode() + b"\n")
        stack.app_log.rename(rotated)
        file.write(line(record(mark=mark, number=2)).encode() + b"\n")
    stack.write(line(record(mark=mark, number=3)))
    found = stack.wait_for({"mark": mark}, 3)
    assert sorted(str(item["number"]) for item in found) == ["1", "2", "3"]


def test_rotation_by_copy_and_truncate_goes_on_reading(stack: StackUnderTest) -> None:
    """Lines written after the file was emptied arrive; the copy is not read a second time."""
    mark = marker()
    stack.write(line(record(mark=mark, number=1)))
    stack.wait_for({"mark": mark}, 1)
    shutil.copy(stack.app_log, stack.app_log.with_name(f"{stack.app_log.name}.2"))
    with stack.app_log.open("r+b") as file:
        file.truncate()
    stack.write(line(record(mark=mark, number=2)))
    found = stack.wait_for({"mark": mark}, 2)
    assert sorted(str(item["number"]) for item in found) == ["1", "2"]


def test_labels_are_the_stream_fields(stack: StackUnderTest) -> None:
    """Streams are made of the labels alone: no id ever becomes one."""
    service = marker()
    stack.write(line(record(service_name=service, request_id=service)))
    stack.wait_for({"service_name": service}, 1)
    labels = {
        "environment": "dev",
        "host": "test-host",
        "level": "INFO",
        "service_name": service,
    }
    if stack.settings.stack.engine == "victorialogs":
        del labels["level"]  # a field like others there
    assert stack.streams(service) == [labels]


def test_everything_the_app_logs_under_traffic_arrives_once(stack: StackUnderTest) -> None:
    """The records in the file and in the engine are the same, request by request."""
    result = stack.run("traffic", "--rate", "40", "--duration", "5", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    written = [
        json.loads(text)
        for text in stack.app_log.read_text(encoding="utf-8").splitlines()
        if '"request_finished"' in text
    ]
    ids = sorted(item["request_id"] for item in written)
    assert len(ids) > 200

    found = stack.wait_for({"event_type": "request_finished"}, len(ids))
    assert sorted(item["request_id"] for item in found) == ids
