"""Application hosts that log, and what a log server has of it in the end."""

from __future__ import annotations

import shlex
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.host_containers import FleetUnderTest, TestHost
from tests.support.native_stack import poll

LOG_FILE = "/var/log/erp-backend-api/erp.log"
# Writes numbered records, twenty a second, until the stop file appears; then prints how many.
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
def load(
    fleet: FleetUnderTest, names: tuple[str, ...] = ("app-1", "app-2")
) -> Iterator[list[Load]]:
    """Application hosts log while the block runs."""
    writers = [Load(fleet.hosts[name]) for name in names]
    for writer in writers:
        writer.start()
    try:
        yield writers
    finally:
        for writer in writers:
            writer.stop()


def wait_for_all(fleet: FleetUnderTest, writers: list[Load], server: str = "logs-1") -> None:
    """Every number arrives at a log server, and each once."""
    for writer in writers:
        assert writer.count > 100
        poll(
            lambda writer=writer: sum(numbers(fleet, writer, server).values()) >= writer.count,  # type: ignore[misc]
            lambda writer=writer: (  # type: ignore[misc]
                f"{writer.count} records, found {sum(numbers(fleet, writer, server).values())}\n"
                + fleet.journals()
            ),
            timeout=120,
        )
        assert numbers(fleet, writer, server) == Counter(range(writer.count))


def numbers(fleet: FleetUnderTest, writer: Load, server: str = "logs-1") -> Counter[int]:
    """The numbers that a log server has of a writer."""
    rows = fleet.query(f'_time:1h request_id:="{writer.mark}" | fields number', server)
    return Counter(int(row["number"]) for row in rows)
