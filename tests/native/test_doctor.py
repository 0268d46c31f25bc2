"""Each fault of a running stack is named by its cause, in `doctor` and in the monitor's records."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from stack.engines.facts import VL_STREAM_FIELDS
from stack.records.contract import MONITOR_SERVICE
from stack.runtimes.supervisor import Supervisor
from tests.support.native_stack import StackUnderTest, line, marker, poll, record

pytestmark = [pytest.mark.native, pytest.mark.own_stack]
OFTEN = {"LOGSTACK_MONITOR__INTERVAL": "1s"}


def diagnose(stack: StackUnderTest) -> tuple[int, list[dict[str, Any]]]:
    """The exit status of `doctor`, and the findings that failed or are worth a remark."""
    result = stack.run("doctor", "--json")
    findings = json.loads(result.stdout)
    return result.returncode, [item for item in findings if not item["ok"] or item["command"]]


def named(stack: StackUnderTest, text: str) -> dict[str, Any]:
    """The finding of `doctor` whose cause has this text."""

    def there() -> dict[str, Any]:
        status, findings = diagnose(stack)
        last[:] = findings
        assert status == 1 or all(item["ok"] for item in findings)
        return next((item for item in findings if text in item["text"]), {})

    last: list[dict[str, Any]] = []
    return poll(there, lambda: f"{text}, got {last}\n{stack.logs()}")


def seen(stack: StackUnderTest, problem: str) -> Mapping[str, Any]:
    """The first record of the monitor about a problem."""
    return stack.wait_for({"service_name": MONITOR_SERVICE, "problem": problem}, 1)[0]


def restart_with(stack: StackUnderTest, name: str, before: str, after: str) -> None:
    """Restart a program with another argument, the first of that name in supervisord.conf."""
    supervisor = Supervisor(stack.target)
    path = stack.target.run_dir / "supervisord.conf"
    text = path.read_text()
    assert re.search(before, text)
    path.write_text(re.sub(before, after, text, count=1))
    supervisor.reload_config()
    supervisor.remove(name)
    supervisor.add(name)


def test_a_crash_loop_of_the_engine_is_named(own_stack: StackUnderTest) -> None:
    """By status, by doctor and by the monitor; `make up` on what was changed ends it."""
    own_stack.variables |= OFTEN
    own_stack.up()
    for _ in range(3):
        own_stack.kill("victorialogs")
        poll(lambda: own_stack.statuses()["victorialogs"]["pid"], "it runs again")
    status = own_stack.run("status")
    assert status.returncode == 1
    shown = own_stack.statuses()["victorialogs"]
    assert (shown["state"], shown["note"]) == (
        *("restarting", "ended 3 times in five minutes: terminated by SIGKILL"),
    )
    found = named(own_stack, "victorialogs ended 3 times in five minutes")
    assert found["check"] == "programs"
    assert found["command"] == f"tail '{own_stack.target.log_file('victorialogs')}'"
    assert seen(own_stack, "component_restarting")["component"] == "victorialogs"


def test_an_engine_whose_disk_is_full_is_named(own_stack: StackUnderTest) -> None:
    """It takes nothing, and the agent's records wait."""
    own_stack.up()
    few = "-storage.minFreeDiskSpaceBytes=[0-9]+"
    restart_with(own_stack, "victorialogs", few, f"-storage.minFreeDiskSpaceBytes={2**50}")
    found = named(own_stack, "victorialogs accepts no records")
    assert found["check"] == "disks"
    assert found["command"].startswith("df -h ")
    own_stack.write(line(record("waits")))
    named(own_stack, "otelcol cannot deliver: the destination accepts no more records now")


def test_an_agent_that_is_stopped_and_one_that_cannot_deliver_are_named(
    own_stack: StackUnderTest,
) -> None:
    """Each by what is not there."""
    own_stack.up()
    supervisor = Supervisor(own_stack.target)
    supervisor.stop("otelcol")
    assert named(own_stack, "otelcol is stopped")["command"] == "make up"
    supervisor.start_program("otelcol")
    supervisor.stop("victorialogs")
    own_stack.write(line(record("waits")))
    assert named(own_stack, "victorialogs is stopped")["command"] == "make up"
    named(own_stack, "otelcol cannot deliver: nothing listens there")


def test_a_policy_that_was_changed_by_hand_is_named(own_stack: StackUnderTest) -> None:
    """Another retention, and rules that are gone."""
    own_stack.up()
    restart_with(own_stack, "victorialogs", "-retentionPeriod=44d", "-retentionPeriod=7d")
    (rules,) = own_stack.target.config_dir("vmalert").rglob("*.yaml")
    rules.write_text("groups: []\n")
    requests.get(own_stack.target.url("vmalert", "/-/reload"), timeout=10)
    found = named(own_stack, "the engine's retention: expected 44 days, got 7 days")
    assert found["command"] == "make up, or on hosts make deploy"
    assert named(own_stack, "rules not loaded: ")["command"] == "make up"


def test_rows_that_the_engine_drops_are_counted_with_their_reason(
    own_stack: StackUnderTest,
) -> None:
    """Also those that it takes and does not have afterwards, which only the accounts tell."""
    own_stack.variables |= OFTEN
    own_stack.up()
    seen_looks = {"service_name": MONITOR_SERVICE, "component": "victorialogs"}
    own_stack.wait_for(seen_looks, 3)
    fields = ",".join(VL_STREAM_FIELDS)
    path = f"/insert/jsonline?_time_field=timestamp&_msg_field=message&_stream_fields={fields}"
    old = (datetime.now(UTC) - timedelta(days=90)).isoformat()
    mark = marker()
    data = "".join(f"{line({**record(mark), 'timestamp': old})}\n" for _ in range(7))
    answer = requests.post(
        own_stack.target.url("victorialogs", path), data=data.encode(), timeout=10
    )
    assert answer.ok
    found = seen(own_stack, "records_dropped")
    assert "victorialogs dropped 7 records in ten minutes: their time is older" in found["message"]
    named(own_stack, "victorialogs dropped 7 records in ten minutes")
    own_stack.write(line(record(mark, **{f"{mark}-{number}": number for number in range(2000)})))
    shown = named(own_stack, "victorialogs dropped 1 record in ten minutes: they have too many")
    assert "maxFieldsPerLine" in shown["evidence"]
    assert mark not in str(shown), "what was in a record is not repeated"


def test_nothing_runs_is_one_sentence(own_stack: StackUnderTest) -> None:
    """And the command that starts it."""
    status = own_stack.run("status")
    assert status.returncode == 1
    assert status.stderr.strip() == "Nothing runs. Run: make up"
    assert named(own_stack, "the stack does not run")["command"] == "make up"


def test_up_says_what_it_does_not_read_and_that_nobody_is_told(own_stack: StackUnderTest) -> None:
    """A pattern without a file, a file of two entries, alerts without a channel."""
    folder = own_stack.folder / "logs of others"
    folder.mkdir()
    (folder / "a.log").write_text("hello\n")
    settings = own_stack.folder / "own.toml"
    entries = (("first", f"{folder}/*.log"), ("second", f"{folder}/a.log"), ("typo", "/nosuch/*"))
    settings.write_text(
        "".join(f'[[agent.files]]\nservice = "{n}"\npath = "{path}"\n' for n, path in entries)
    )
    own_stack.variables["LOGSTACK_SETTINGS"] = str(settings)
    result = own_stack.run("up")
    assert result.returncode == 0, result.stderr
    for text in (
        "1 file of second also matches an earlier entry, read as first alone",
        "no log file of typo exists: /nosuch/* matches nothing: there is no folder /nosuch",
        "Alerts reach nobody: no channel is set up.",
    ):
        assert text in result.stderr
    assert named(own_stack, "no log file of typo exists")["check"] == "log files"
    assert not Path("/nosuch").exists()
