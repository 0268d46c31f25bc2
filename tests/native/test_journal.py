"""What becomes of journald's entries: the real receiver, reading what journalctl would print."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from stack.hosts.plan import plan_for
from tests.support.host_processes import (
    HostUnderTest,
    binaries_of,
    fleet_settings,
    made_secrets,
    running_host,
)
from tests.support.native_stack import line, marker, poll, record

pytestmark = pytest.mark.native


def entry(message: Any, unit: str = "backup.service", **fields: str) -> str:
    """One entry as `journalctl --output=json` prints it."""
    values = {
        "MESSAGE": message,
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "backup",
        "_SYSTEMD_UNIT": unit,
        "_PID": "42",
        **fields,
    }
    return json.dumps(values)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Any]:
    """A function that lets the agent read entries and returns the records of a query."""
    values = fleet_settings(app_hosts={"journal": True})
    known = made_secrets(tmp_path, values)
    engine = f"http://127.0.0.1:{values.ports.victorialogs}"

    def ask(query: str) -> list[dict[str, Any]]:
        answer = requests.post(f"{engine}/select/logsql/query", data={"query": query}, timeout=10)
        return [json.loads(text) for text in answer.text.splitlines()]

    def read(entries: list[str], query: str, count: int) -> list[dict[str, Any]]:
        bin_dir = journalctl(tmp_path, entries)
        agent = HostUnderTest(tmp_path / "app", values, plan_for(values, known, "app-1"))
        folder = binaries_of(values, "otelcol")["otelcol"]
        path = {"PATH": f"{bin_dir}:{os.environ['PATH']}"}
        with agent.run("otelcol", folder, path) as process:
            poll(
                lambda: len(ask(query)) >= count,
                lambda: f"{count} records\n{process.log.read_text()}",
            )
        return ask(query)

    with running_host(tmp_path / "server", values, known, "logs-1", "victorialogs", "gateway"):
        yield read


def journalctl(folder: Path, entries: list[str]) -> Path:
    """A program that prints these entries, each of now, and then waits as `--follow` does."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "journalctl"
    lines = folder / "entries"
    lines.write_text("".join(f"{text}\n" for text in entries), encoding="utf-8")
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in *--version*) echo "systemd 252"; exit;; esac\n'
        "n=0; while IFS= read -r entry; do n=$((n + 1))\n"
        '  echo "${entry%\\}}, \\"__CURSOR\\": \\"$n\\", '
        '\\"__REALTIME_TIMESTAMP\\": \\"$(date +%s)000000\\"}"\n'
        f"done < '{lines}'\nexec sleep 300\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return program.parent


def test_entries_become_records(records: Any) -> None:
    """Text with its priority, JSON as it is in files, binary messages, none of the agent's own."""
    mark = marker()
    entries = [
        entry(f"disk is full {mark}", PRIORITY="3"),
        entry(f"careful {mark}", PRIORITY="4"),
        entry(list(f"bytes {mark}".encode())),
        entry(line(record(f"from an app {mark}", user_id=7)), unit="app.service"),
        entry(f"of the agent {mark}", unit="logstack-otelcol.service"),
        json.dumps({"MESSAGE": f"kernel {mark}", "PRIORITY": "6", "SYSLOG_IDENTIFIER": "kernel"}),
    ]
    found = {
        item["_msg"].replace(f" {mark}", ""): item for item in records(entries, f'"{mark}"', 5)
    }
    assert set(found) == {"disk is full", "careful", "bytes", "from an app", "kernel"}
    full = found["disk is full"]
    assert {
        key: full[key] for key in ("service_name", "environment", "host", "level", "format")
    } == {
        "service_name": "backup",
        "environment": "staging",
        "host": "app-1",
        "level": "ERROR",
        "format": "text",
    }
    assert found["careful"]["level"] == "WARNING"
    assert found["kernel"]["service_name"] == "kernel"
    app = found["from an app"]
    assert (app["service_name"], app["user_id"], app["level"]) == ("erp-backend-api", "7", "INFO")
    assert not [key for key in {**full, **app} if key in ("stream", "priority", "logstack.service")]
