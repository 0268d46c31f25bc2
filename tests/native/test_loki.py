"""Loki itself: its configuration as it is in force, its rules, its tenants and its limits."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from stack.alerting.rules import load_rules
from stack.components.catalogue import selected
from stack.engines import EngineError, Selection
from stack.engines.facts import LOKI_RESTORED_TENANT, LOKI_TENANT
from stack.engines.loki import Loki
from stack.records import contract
from stack.records.contract import normalise
from stack.settings import variable_name
from tests.support.native_stack import LOKI, StackUnderTest, line, marker, on, poll, record

pytestmark = [pytest.mark.native, on(LOKI)]


def ask(stack: StackUnderTest, path: str, tenant: str = LOKI_TENANT) -> Any:
    answer = requests.get(
        stack.target.url("loki", path), headers={"X-Scope-OrgID": tenant}, timeout=10
    )
    assert answer.status_code == 200, answer.text
    return yaml.safe_load(answer.text)


def loki(stack: StackUnderTest, tenant: str = LOKI_TENANT) -> Loki:
    return Loki(stack.target.url("loki"), tenant)


def today(**values: Any) -> Selection:
    now = datetime.now(UTC)
    return Selection(since=now - timedelta(days=2), until=now + timedelta(hours=1), **values)


def test_the_configuration_passes_lokis_own_check(stack: StackUnderTest) -> None:
    """With `loki -verify-config`, as anybody can."""
    config = stack.target.config_dir("loki") / "config.yaml"
    result = subprocess.run(
        ["loki", f"-config.file={config}", "-verify-config"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "config is valid" in result.stderr


def test_retention_is_in_force(stack: StackUnderTest) -> None:
    """A retention that is only written down keeps everything for ever."""
    config = ask(stack, "/config")
    days = stack.settings.retention.engine_days(archived=stack.target.has_archive)
    assert config["compactor"]["retention_enabled"] is True
    assert config["compactor"]["delete_request_store"] == "filesystem"
    assert str(stack.target.data_dir) in config["compactor"]["working_directory"]
    assert config["limits_config"]["retention_period"] in (f"{days}d", f"{days * 24}h", "6w2d")


def test_exactly_the_contracts_labels_make_streams(stack: StackUnderTest) -> None:
    """No id ever becomes a label, whatever Loki's defaults say."""
    mark = marker()
    stack.write(line(record(service_name=mark, request_id=mark, user_id=1, pod="x")))
    stack.wait_for({"service_name": mark}, 1)
    [labels] = stack.streams(mark)
    assert sorted(labels) == sorted(contract.names("label"))


def test_metadata_is_kept_beside_the_line_which_stays_as_it_was(stack: StackUnderTest) -> None:
    """Found without parsing; spaces, the order of keys and escapes of the line survive."""
    mark = marker()
    text = line(record("caf\u00e9", zeta=1, request_id=mark)).replace("\u00e9", "\\u00e9")
    written = text.replace(",", " ,", 3)
    stack.write(written)
    poll(lambda: loki(stack).count(today(matches={"request_id": mark})), stack.logs)
    [row] = loki(stack).query(f'{{host="test-host"}} | request_id="{mark}"', today(), limit=5)
    assert row["_line"] == written
    assert row["logger_name"] == "tests"


def test_the_ruler_has_exactly_the_shipped_rules_and_they_fire(stack: StackUnderTest) -> None:
    """Loki evaluates them itself and tells Alertmanager."""
    groups = ask(stack, "/prometheus/api/v1/rules")["data"]["groups"]
    loaded = sorted(rule["name"] for group in groups for rule in group["rules"])
    assert loaded == sorted(rule.name for rule in load_rules(stack.settings))
    url = stack.target.url("alertmanager", "/api/v2/alerts")
    poll(
        lambda: [
            alert
            for alert in requests.get(url, timeout=5).json()
            if alert["labels"]["alertname"] == "Watchdog"
        ],
        lambda: f"the alert Watchdog at Alertmanager\n{stack.logs()}",
        timeout=90,
    )


def test_everything_listens_on_loopback_only(stack: StackUnderTest) -> None:
    """No ring, no gossip and no gRPC on an address that other machines reach."""
    assert stack.listens_on() == {"127.0.0.1"}


def test_records_of_one_instant_are_paged_without_loss(stack: StackUnderTest) -> None:
    """Pages are cut between instants, also where one instant fills more than a page."""
    mark = marker()
    stamp = record()["timestamp"]
    same = [record(f"same {n}", mark=mark, n=n) | {"timestamp": stamp} for n in range(12_000)]
    others = [record(f"other {n}", mark=mark, n=n) for n in range(3000)]
    loki(stack).push([*others, *same])
    selection = today(matches={"mark": mark})
    assert loki(stack).count(selection) == 15_000
    found = list(loki(stack).records(selection, limit=20_000))
    assert len({str(item["message"]) for item in found}) == len(found) == 15_000
    assert found == sorted(found, key=lambda item: str(item["timestamp"]))
    newest = [str(item["message"]) for item in loki(stack).records(selection, limit=10)]
    assert newest == [f"other {n}" for n in range(2990, 3000)]


def test_a_range_is_closed_at_its_start_and_open_at_its_end(stack: StackUnderTest) -> None:
    """To the microsecond, for counting as for reading."""
    mark = marker()
    moment = datetime.now(UTC).replace(microsecond=123_456)
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    loki(stack).push([record(mark=mark) | {"timestamp": stamp}])
    selection = today(matches={"mark": mark})
    tick = timedelta(microseconds=1)
    for since, until, found in (
        (moment, moment + tick, 1),
        (moment - tick, moment, 0),
        (moment + tick, moment + 5 * tick, 0),
        (moment - timedelta(seconds=1), moment + timedelta(microseconds=700), 1),
    ):
        ranged = replace(selection, since=since, until=until)
        assert loki(stack).count(ranged) == found
        assert len(list(loki(stack).records(ranged, limit=5))) == found


def test_tenants_do_not_see_each_other_and_old_records_are_restored(stack: StackUnderTest) -> None:
    """What the archive brings back may be of any age, and is apart from the rest."""
    mark = marker()
    old = datetime.now(UTC) - timedelta(days=300)
    values = record(mark=mark) | {"timestamp": old.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
    loki(stack, LOKI_RESTORED_TENANT).push([values])
    then = Selection(since=old - timedelta(hours=1), until=old + timedelta(hours=1))
    poll(lambda: loki(stack, LOKI_RESTORED_TENANT).count(then), stack.logs)
    assert list(loki(stack, LOKI_RESTORED_TENANT).records(then, limit=5)) == [normalise(values)]
    assert loki(stack).count(replace(then, matches={"mark": mark})) == 0


@pytest.mark.parametrize("hours", [-24 * 20, -30, -2, 0, 20])
def test_a_record_of_another_time_is_accepted(stack: StackUnderTest, hours: int) -> None:
    """Files read late, and clocks that are wrong by less than a day, lose no record."""
    mark = marker()
    moment = datetime.now(UTC) + timedelta(hours=hours)
    values = record(mark=mark) | {"timestamp": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
    stack.write(line(values), line(record(mark=mark)))
    everything = Selection(
        since=datetime.now(UTC) - timedelta(days=25),
        until=datetime.now(UTC) + timedelta(days=2),
        matches={"mark": mark},
    )
    poll(lambda: loki(stack).count(everything) == 2, lambda: f"2 records\n{stack.logs()}")


def pushed(stack: StackUnderTest, service: str, seconds: int) -> requests.Response:
    """The answer to one line at a time as Promtail's protocol has it: seconds of any year."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    stamp = b"\x08" + varint(seconds)
    entry = field(1, stamp) + field(2, b"from another client")
    labels = f'{{service_name="{service}"}}'.encode()
    body = field(1, field(1, labels) + field(2, entry))
    snappy = varint(len(body)) + bytes([60 << 2, len(body) - 1]) + body  # one literal
    return requests.post(
        stack.target.url("loki", "/loki/api/v1/push"),
        headers={"X-Scope-OrgID": LOKI_TENANT, "Content-Type": "application/x-protobuf"},
        data=snappy,
        timeout=10,
    )


def varint(number: int) -> bytes:
    """As protocol buffers and Snappy write a number."""
    whole = bytearray()
    while number > 127:
        whole.append(number & 127 | 128)
        number >>= 7
    return bytes([*whole, number])


@pytest.mark.parametrize("year", [2263, 2300, 2553, 2700, 9999])
def test_a_client_with_a_far_time_spoils_no_stream(stack: StackUnderTest, year: int) -> None:
    """It is refused: in the stream, its time would make all others too old, for good."""
    service = marker()
    now = datetime.now(UTC)
    assert pushed(stack, service, int(now.timestamp())).status_code == 204
    far = pushed(stack, service, int(datetime(year, 6, 1, tzinfo=UTC).timestamp()))
    assert far.status_code == 400
    assert "has timestamp too" in far.text  # old, or new
    assert pushed(stack, service, int(now.timestamp()) + 1).status_code == 204
    assert loki(stack).count(today(matches={"service_name": service})) == 2


def test_a_query_that_loki_does_not_understand_is_one_clear_error(stack: StackUnderTest) -> None:
    """With Loki's own words and no traceback."""
    result = stack.run("query", "{level=")
    assert result.returncode == 1
    assert "parse error" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_engine_that_is_away_is_named(stack: StackUnderTest) -> None:
    """With the command that shows what is wrong."""
    gone = Loki("http://127.0.0.1:9")
    with pytest.raises(EngineError, match=r"connection refused\. Run: \./logstack status"):
        gone.count(today())


def test_smoke_and_logs_work_with_loki(stack: StackUnderTest) -> None:
    """The commands know no difference."""
    assert stack.run("smoke", "--json").returncode == 0
    result = stack.run("logs", "--level", "ERROR", "--since", "5m", "-n", "1")
    assert result.returncode == 0, result.stderr
    assert " ERROR " in result.stdout.splitlines()[0]
    assert "MarkerError" in result.stdout


def test_a_loki_that_is_not_there_is_asked_for(own_stack: StackUnderTest, tmp_path: Path) -> None:
    """Nothing is built in its place; the message says what to install or to choose."""
    result = own_stack.run("up", extra={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert result.returncode == 1
    version = own_stack.settings.versions.loki
    assert f"cannot fetch loki {version}: PATH has no program of this version" in result.stderr
    assert "LOGSTACK_STACK__ENGINE=victorialogs" in result.stderr


def test_an_engine_is_changed_by_one_setting(own_stack: StackUnderTest) -> None:
    """`up` replaces the old engine and what belonged to it."""
    own_stack.up()
    expected = {component.name for component in selected(own_stack.settings)}
    assert "loki" in expected
    assert set(own_stack.statuses()) == expected
    own_stack.variables[variable_name("stack", "engine")] = "victorialogs"
    own_stack.up()
    statuses = own_stack.statuses()
    expected = {component.name for component in selected(own_stack.settings)}
    assert "victorialogs" in expected
    assert {name for name in statuses if statuses[name]["state"] in ("healthy", "idle")} == expected
    mark = marker()
    own_stack.write(line(record(mark=mark)))
    own_stack.wait_for({"mark": mark}, 1)
