"""Reading records in the terminal: hostile bytes, bursts, Ctrl-C, closed pipes."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from stack.cli import follow
from stack.cli.follow import Follower
from stack.engines import Record, Selection
from stack.engines.factory import engine_of
from stack.engines.facts import LOKI_TENANT
from stack.queries.evaluate import evaluator_of
from stack.queries.language import Query
from stack.records.timestamps import nanoseconds, rfc3339
from tests.support.native_stack import (
    ON_ENGINES,
    StackUnderTest,
    logstack_argv,
    marker,
    poll,
    record,
)
from tests.support.terminal import interrupt

pytestmark = [pytest.mark.native, pytest.mark.timeout(240), ON_ENGINES]
BURST = 30_000


def push_bytes(stack: StackUnderTest, service: str, message: bytes) -> None:
    """Store a record whose message holds bytes that are no UTF-8, through the engine's own door."""
    now = datetime.now(UTC)
    text = json.dumps(record("MESSAGE", service_name=service, level="ERROR"))
    if stack.settings.stack.engine == "loki":
        labels = {"service_name": service, "environment": "dev", "level": "ERROR"}
        line = json.dumps(text)
        body = json.dumps(
            {"streams": [{"stream": labels, "values": [[str(nanoseconds(now)), "LINE"]]}]}
        ).replace('"LINE"', line)
        url, headers = stack.target.url("loki", "/loki/api/v1/push"), {"X-Scope-OrgID": LOKI_TENANT}
        headers["Content-Type"] = "application/json"
        parameters = {}
    else:
        body, headers = text, {}
        url = stack.target.url("victorialogs", "/insert/jsonline")
        parameters = {
            "_time_field": "timestamp",
            "_msg_field": "message",
            "_stream_fields": "service_name,environment,host",
        }
    data = body.encode().replace(b"MESSAGE", message)
    answer = requests.post(url, params=parameters, headers=headers, data=data, timeout=10)
    answer.raise_for_status()


def test_a_byte_that_is_no_utf8_hides_nothing(stack: StackUnderTest) -> None:
    """The record is shown with a replacement, and those around it as they are."""
    service = marker()
    stack.engine.push([record("before ü", service_name=service)])
    push_bytes(stack, service, b"broken \xff\xfe here")
    stack.engine.push([record("after ü", service_name=service)])
    stack.wait_for({"service_name": service}, 3)
    logs = stack.run("logs", "--service", service, "--json")
    assert logs.returncode == 0, logs.stderr
    expected = ["before ü", "broken �� here", "after ü"]
    assert [json.loads(line)["message"] for line in logs.stdout.splitlines()] == expected
    loki = stack.settings.stack.engine == "loki"
    text = f'{{service_name="{service}"}}' if loki else f'service_name:="{service}"'
    found = stack.run("query", text, "--json")
    assert found.returncode == 0, found.stderr
    rows = [str(json.loads(line)) for line in found.stdout.splitlines()]
    assert [message for message in expected if not any(message in row for row in rows)] == []
    query = Query("all", text, text, kind="records")
    now = datetime.now(UTC)
    records = evaluator_of(stack.target).records(
        query, now - timedelta(hours=1), now + timedelta(minutes=1), limit=10
    )
    assert [item["message"] for item in records] == expected


def test_a_query_without_rows_says_so(stack: StackUnderTest) -> None:
    """With the time that was asked for, which is an hour if no other is given."""
    loki = stack.settings.stack.engine == "loki"
    text = '{service_name="nobody"}' if loki else 'service_name:="nobody"'
    for options in ((), ("--json",)):
        result = stack.run("query", text, *options)
        assert (result.returncode, result.stdout) == (0, "")
        assert result.stderr == "No rows match between --since 1h and --until now.\n"


def numbered(service: str, count: int) -> Iterator[Record]:
    for number in range(count):
        yield record(f"number {number}", service_name=service)


def test_follow_shows_every_record_of_a_burst(stack: StackUnderTest) -> None:
    """More than it asks for at once: each one, once, in order."""
    service = marker()
    stack.engine.push([record("first", service_name=service)])
    stack.wait_for({"service_name": service}, 1)
    process = stack.popen("logs", "--follow", "--service", service, "--json")
    assert process.stdout is not None
    messages: list[str] = []

    def read() -> None:
        for line in process.stdout or ():
            if line.startswith("{"):
                messages.append(json.loads(line)["message"])

    reader = threading.Thread(target=read)
    with process:
        reader.start()
        poll(lambda: messages, "the first record")
        stack.engine.push(numbered(service, BURST))
        try:
            poll(
                lambda: len(messages) > BURST,
                lambda: f"{BURST} records, found {len(messages) - 1}",
                timeout=90,
            )
        finally:
            process.send_signal(signal.SIGINT)
            reader.join(30)
    assert len(messages) == BURST + 1
    assert sorted(messages[1:]) == sorted(f"number {number}" for number in range(BURST))


def test_follow_says_which_records_came_too_late(
    stack: StackUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when an agent catches up after an outage; and how to see them."""
    monkeypatch.setattr(follow, "LATE_EVERY", timedelta(seconds=2))
    service = marker()
    stack.engine.push([record("early", service_name=service)])
    stack.wait_for({"service_name": service}, 1)
    now = datetime.now(UTC)
    selection = Selection(now - timedelta(minutes=15), now, matches={"service_name": service})
    notices: list[str] = []
    follower = Follower(engine_of(stack.target), selection, notices.append)
    made = rfc3339(nanoseconds(now - timedelta(minutes=3)))
    late = [
        {**record(f"late {number}", service_name=service), "timestamp": made} for number in "ab"
    ]
    stack.engine.push(late)
    stack.engine.push([record("in time 0", service_name=service)])
    shown: list[object] = []
    for item in follower.records(()):  # without end: there is always one more
        shown.append(item["message"])
        if notices:
            break
        stack.engine.push([record(f"in time {len(shown)}", service_name=service)])
    assert shown == [f"in time {number}" for number in range(len(shown))]
    assert "Skipped 2 records that arrived more than 15 s after they were created" in notices[0]
    command = shlex.split(notices[0].rpartition("./logstack ")[2])
    result = stack.run(*command, "--service", service, "--json")
    assert {json.loads(line)["message"] for line in result.stdout.splitlines()} >= {
        "late a",
        "late b",
    }


COMMANDS = {
    "follow": (("logs", "--follow"), b"in this test"),
    "traffic": (("traffic", "--rate", "20", "--duration", "60"), b" of 1200"),
    "report": (("report", "--out", "report.html"), b"report"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_ends_a_command(stack: StackUnderTest, name: str) -> None:
    """With status 130, without a traceback, with nothing half-written left."""
    arguments, begun = COMMANDS[name]
    stack.engine.push([record("in this test")])
    before = set(stack.folder.iterdir())
    status, printed = interrupt(stack, begun, *arguments)
    assert status == 130, printed
    assert "Traceback" not in printed
    assert set(stack.folder.iterdir()) == before


@pytest.mark.parametrize("options", ["logs -n 20000", "logs -n 20000 --json", "query -n 20000 "])
def test_a_reader_that_closes_the_pipe_is_no_error(stack: StackUnderTest, options: str) -> None:
    """Also in the middle of a long answer."""
    service = marker()
    stack.engine.push(numbered(service, 20_000))
    stack.wait_for({"service_name": service}, 20_000)
    loki = stack.settings.stack.engine == "loki"
    text = f'{{service_name="{service}"}}' if loki else f'service_name:="{service}"'
    last = [text, "--json"] if options.startswith("query") else ["--service", service]
    command = shlex.join([*logstack_argv(*options.split()), *last])
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -1"],
        env=stack.environ,
        capture_output=True,
        text=True,
        check=False,
        cwd=stack.folder,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1


def test_follow_ends_when_its_reader_has_read_enough(stack: StackUnderTest) -> None:
    """At the next record."""
    mark = marker()
    stack.engine.push([record(f"one {mark}")])
    stack.wait_for({}, 1, grep=mark)
    command = shlex.join(logstack_argv("logs", "--follow", "--grep", mark))
    errors = Path(stack.folder / "errors of follow")
    with subprocess.Popen(
        ["bash", "-c", f"set -o pipefail; {command} 2>'{errors}' | head -1"],
        env=stack.environ,
        stdout=subprocess.PIPE,
        text=True,
        cwd=stack.folder,
    ) as process:
        assert process.stdout is not None
        assert f"one {mark}" in process.stdout.readline()
        stack.engine.push([record(f"two {mark}")])
        assert process.wait(timeout=30) == 0
    assert errors.read_text("utf-8") == ""
    errors.unlink()
