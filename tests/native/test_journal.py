"""What becomes of journald's entries: the real receiver, reading what journalctl would print."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from stack.archive.format.lines import parse_ns
from stack.components.log_sources import SERVICE_LABEL
from stack.hosts.plan import plan_for
from stack.records import contract
from stack.settings import Settings
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


def ask(values: Settings, query: str) -> list[dict[str, Any]]:
    """The engine's own rows of a query, of any time."""
    url = f"http://127.0.0.1:{values.ports.victorialogs}/select/logsql/query"
    answer = requests.post(url, data={"query": query}, timeout=10)
    return [json.loads(text) for text in answer.text.splitlines()]


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Any]:
    """A function that lets the agent read entries and returns the records of a query."""
    values = fleet_settings(app_hosts={"journal": True})
    known = made_secrets(tmp_path, values)

    def read(entries: list[str], query: str, count: int) -> list[dict[str, Any]]:
        bin_dir = journalctl(tmp_path, entries)
        agent = HostUnderTest(tmp_path / "app", values, plan_for(values, known, "app-1"))
        folder = binaries_of(values, "otelcol")["otelcol"]
        path = {"PATH": f"{bin_dir}:{os.environ['PATH']}"}
        with agent.run("otelcol", folder, path) as process:
            poll(
                lambda: len(ask(values, query)) >= count,
                lambda: f"{count} records\n{process.log.read_text()}",
            )
        return ask(values, query)

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
        json.dumps({"MESSAGE": f"kernel {mark}", "PRIORITY": "6", "_TRANSPORT": "kernel"}),
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


ODD_LINES: list[dict[str, Any]] = [
    {"host": "own", "stream": "out", "priority": "3", "docker": {"log": "x"}, "time": "12:00"},
    {"log.file.path": "/own", "format": "text", "service.name": "own", "logstack.service": "own"},
    {"service_name": {"a": 1}, "environment": ["x"], "timestamp": "9999-12-31T23:59:59Z"},
    {"timestamp": "yesterday", "prices": {"sku-1": {"net": 1.5}}},
    {"record": {"timestamp": "x"}, "aside": "own", "arrival": "own", "none": "own"},
]


def check_odd_lines(found: list[dict[str, Any]], service: str) -> None:
    """What ODD_LINES become in each receiver, beside whatever it sets itself."""
    by_number = {int(item["number"]): item for item in found if "number" in item}
    assert set(by_number) == set(range(len(ODD_LINES)))
    for number, values in enumerate(ODD_LINES):
        item = by_number[number]
        assert item["host"] == "app-1"
        own = contract.texts_of(contract.rename_reserved(values))
        stamp = own.pop("timestamp", "")
        kept = "timestamp_invalid" if stamp == "yesterday" else "timestamp_original"
        own |= {kept: stamp} if stamp else {}
        assert {name: item.get(name) for name in own} == own
        assert item["environment"] == ("staging" if "environment" in values else "dev")
        assert item["service_name"] == (service if "service_name" in values else "erp-backend-api")
        assert abs(parse_ns(item["_time"]) / 1e9 - time.time()) < 600
        others = {"stream", "priority", "time", "record", "aside", "arrival", "none"}
        assert not (others | {"docker", "logstack.service"}) & set(item) - set(values)


def odd_lines(mark: str) -> list[str]:
    """ODD_LINES as records that can be found by their mark."""
    numbered = enumerate(ODD_LINES)
    return [line(record(mark, number=n) | {"mark": mark} | values) for n, values in numbered]


def test_entries_with_the_names_of_the_agent_are_stored(records: Any) -> None:
    """And those whose time cannot be read or is not taken; entries of another month, too."""
    mark = marker()
    entries = [entry(text, unit="app.service") for text in odd_lines(mark)]
    found = records(entries, f'"{mark}"', len(entries))
    check_odd_lines(found, "app")


def test_lines_of_containers_with_the_names_of_the_agent_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And those that were written a month ago or by a clock that is ahead, text and JSON."""
    mark = marker()
    folder = tmp_path / "containers"
    monkeypatch.setattr("stack.components.log_sources.CONTAINER_LOGS", str(folder))
    (folder / "abc").mkdir(parents=True)

    def written(text: str, at: str) -> str:
        attrs = {SERVICE_LABEL: "shop"}
        return json.dumps({"log": f"{text}\n", "stream": "stdout", "attrs": attrs, "time": at})

    now = datetime.now(UTC)
    stamps = {
        name: (now + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.%f123Z")
        for name, days in {"old": -30, "now": 0, "ahead": 3}.items()
    }
    lines = [written(text, stamps["now"]) for text in odd_lines(mark)]
    for name, at in stamps.items():
        lines += [written(f"{name} text {mark}", at), written(line({"note": name, "m": mark}), at)]
    (folder / "abc" / "abc-json.log").write_text("\n".join([*lines, ""]), encoding="utf-8")

    values = fleet_settings(app_hosts={"docker_logs": True})
    known = made_secrets(tmp_path, values)
    with running_host(tmp_path / "server", values, known, "logs-1", "victorialogs", "gateway"):
        agent = HostUnderTest(tmp_path / "app", values, plan_for(values, known, "app-1"))
        with agent.run("otelcol", binaries_of(values, "otelcol")["otelcol"]) as process:
            poll(
                lambda: len(ask(values, f'"{mark}"')) >= len(lines),
                lambda: f"{len(lines)} records\n{process.log.read_text()}",
            )
        found = ask(values, f'"{mark}"')
    assert len(found) == len(lines)
    check_odd_lines(found, "shop")
    for name, at in stamps.items():
        of_name = [item for item in found if name in (item.get("note"), item["_msg"].split()[0])]
        assert len(of_name) == 2
        for item in of_name:
            assert item["service_name"] == "shop"
            assert item.get("timestamp_original") == (None if name == "now" else at)
            own = parse_ns(at) if name == "now" else time.time_ns()
            assert abs(parse_ns(item["_time"]) - own) < (1 if name == "now" else 600e9)
