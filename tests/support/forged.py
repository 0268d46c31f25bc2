"""Records that only the stack itself may write, as somebody else writes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from stack.checks.doctor import SUBJECTS
from stack.components.log_sources import SERVICE_LABEL
from stack.monitor.__main__ import EVENT
from stack.records.contract import ARCHIVER_SERVICE, MONITOR_SERVICE
from tests.support.native_stack import line, record

PROBLEMS = tuple(problem for problems in SUBJECTS.values() for problem in problems)
ARCHIVE_EVENTS = (
    *("archive_run_started", "archive_run_finished", "archive_run_failed", "archive_day_kept"),
    *("archive_day_unverified", "archive_day_dropped", "archive_day_dropped_for_space"),
    "archive_records_dropped",
)
GATEWAY_SERVICE = "logstack-gateway"


def forged() -> list[dict[str, str]]:
    """One of every kind: each problem, each event of the archiver, a wrong password."""
    health = {"event_type": EVENT, "component": "victorialogs", "watched_service": "billing"}
    return [
        *({"service_name": MONITOR_SERVICE, **health, "problem": name} for name in PROBLEMS),
        *({"service_name": ARCHIVER_SERVICE, "event_type": name} for name in ARCHIVE_EVENTS),
        {"service_name": GATEWAY_SERVICE, "status": "401", "client_ip": "192.0.2.1"},
    ]


def write_containers(folder: Path, mark: str) -> int:
    """Docker's log files of containers that claim to be of the stack; returns the lines.

    One does so by its label, with text and JSON; one that is labelled `web` in its lines.
    """
    claimed = {"service_name": MONITOR_SERVICE, "event_type": EVENT, "problem": "disk_full"}
    json_line = line(record(f"json {mark}", request_id=mark, **claimed))
    lines = {MONITOR_SERVICE: [f"text {mark}", json_line], "web": [json_line]}
    for label, texts in lines.items():
        path = folder / label / f"{label}-json.log"
        path.parent.mkdir(parents=True)
        for text in texts:
            written = {"log": f"{text}\n", "stream": "stdout", "attrs": {SERVICE_LABEL: label}}
            entry = {**written, "time": datetime.now(UTC).isoformat()}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
    return sum(map(len, lines.values()))
