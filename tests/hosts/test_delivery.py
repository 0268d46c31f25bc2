"""What happens to records while log servers stop, restart and are upgraded: nothing."""

from __future__ import annotations

import shlex
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stack import artifacts, settings
from tests.hosts.harness import FleetUnderTest, TestHost
from tests.native.harness import poll
from tests.require import unavailable

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

LOG_FILE = "/var/log/erp-backend-api/erp.log"
OUTAGE_SECONDS = 45
# The release before the one in the settings that differs in nothing these tests look at.
OLDER_VMALERT = "1.150.0"
# Writes numbered records, twenty a second, until it is told to stop; then says how many.
WRITER = f"""
import datetime, json, os, sys, time
os.makedirs("{LOG_FILE.rpartition("/")[0]}", exist_ok=True)
mark, number = sys.argv[1], 0
with open("{LOG_FILE}", "a", buffering=1) as file:
    while not os.path.exists("/run/stop-" + mark):
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        file.write(json.dumps({{"timestamp": now, "level": "INFO", "logger_name": "load",
            "message": "number %d" % number, "service_name": "erp-backend-api",
            "environment": "staging", "request_id": mark, "number": number}}) + "\\n")
        number += 1
        time.sleep(0.05)
print(number)
"""


class Load:
    """A writer on one host; `count` is how many records it wrote once it has stopped."""

    def __init__(self, host: TestHost):
        self.host, self.mark, self.count = host, uuid.uuid4().hex, 0

    def start(self) -> None:
        run = f"systemd-run --quiet --unit=load --collect -p StandardOutput=file:/run/{self.mark}"
        self.host.sh(f"{run} python3 -c {shlex.quote(WRITER)} {self.mark}")

    def stop(self) -> None:
        self.host.sh(f"touch /run/stop-{self.mark}")
        text = poll(lambda: self.host.sh(f"cat /run/{self.mark}").strip(), "the writer's count")
        self.count = int(text)


@contextmanager
def load(fleet: FleetUnderTest) -> Iterator[list[Load]]:
    """Both application hosts log while the block runs."""
    writers = [Load(fleet.hosts[name]) for name in ("app-1", "app-2")]
    for writer in writers:
        writer.start()
    try:
        yield writers
    finally:
        for writer in writers:
            writer.stop()


def wait_for_all(fleet: FleetUnderTest, writers: list[Load]) -> None:
    """Every number arrives, and each once."""
    for writer in writers:
        assert writer.count > 100
        poll(
            lambda writer=writer: sum(numbers(fleet, writer).values()) >= writer.count,  # type: ignore[misc]
            lambda writer=writer: (  # type: ignore[misc]
                f"{writer.count} records, found {sum(numbers(fleet, writer).values())}\n"
                + fleet.journals()
            ),
            timeout=120,
        )
        assert numbers(fleet, writer) == Counter(range(writer.count))


def numbers(fleet: FleetUnderTest, writer: Load) -> Counter[int]:
    """The numbers that the log server has of a writer."""
    rows = fleet.query(f'_time:1h request_id:="{writer.mark}" | fields number')
    return Counter(int(row["number"]) for row in rows)


def test_an_outage_of_the_log_server_loses_and_doubles_nothing(fleet: FleetUnderTest) -> None:
    """It is stopped for most of a minute while both application hosts log."""
    host = fleet.hosts["logs-1"]
    with load(fleet) as writers:
        host.sh("systemctl stop logstack-victorialogs")
        time.sleep(OUTAGE_SECONDS)
        host.sh("systemctl start logstack-victorialogs")
    wait_for_all(fleet, writers)


def test_a_killed_agent_and_engine_lose_nothing(fleet: FleetUnderTest) -> None:
    """`kill -9` of the agent while it has nothing to send back; systemd starts it again."""
    with load(fleet) as writers:
        for name in ("app-1", "app-2"):
            host = fleet.hosts[name]
            before = host.pid("otelcol")
            host.sh(f"kill -9 {before}")
            poll(lambda h=host, b=before: h.pid("otelcol") not in ("0", b), "another process")  # type: ignore[misc]
    for writer in writers:
        poll(
            lambda w=writer: set(numbers(fleet, w)) == set(range(w.count)),  # type: ignore[misc]
            lambda w=writer: f"every number of {w.count}\n{fleet.journals()}",  # type: ignore[misc]
            timeout=60,
        )


def test_an_upgrade_and_its_rollback_lose_nothing(fleet: FleetUnderTest) -> None:
    """A log server's engine restarts with another value, another program is another version."""
    older = {**fleet.values, "versions": {"vmalert": OLDER_VMALERT}, "limits": {"query": "9m"}}
    values = settings.load({"LOGSTACK_VERSIONS__VMALERT": OLDER_VMALERT})
    try:
        known = artifacts.for_hosts(values)["vmalert"]
        artifacts.obtain_all(values, lambda name, text: None, {"vmalert": known})
    except artifacts.ArtifactError as error:
        unavailable("hosts", str(error))
    newer = fleet.values
    fleet.values = older
    fleet.deploy()
    assert OLDER_VMALERT in version(fleet)
    fleet.values = newer
    with load(fleet) as writers:
        text = fleet.deploy()
    assert f"version of vmalert: {OLDER_VMALERT}" in text
    assert "restart service logstack-victorialogs" in text
    wait_for_all(fleet, writers)
    assert OLDER_VMALERT not in version(fleet)
    result = fleet.run("hosts", "rollback", "staging")
    assert result.returncode == 0, result.stdout + result.stderr
    assert OLDER_VMALERT in version(fleet)


def version(fleet: FleetUnderTest) -> str:
    """What the running vmalert says of itself."""
    port = settings.load({}).ports.effective("vmalert")
    return fleet.hosts["logs-1"].get(f"http://127.0.0.1:{port}/metrics", "vm_app_version")
