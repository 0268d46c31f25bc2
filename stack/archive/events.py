"""The archiver's own records: what it did, in the form that every service logs in.

The agent ships the file; the alert rules of the archive look for these records.
"""

from __future__ import annotations

import json
from pathlib import Path

from stack.archive.context import Archive
from stack.components import ARCHIVER_SERVICE


def record_event(
    archive: Archive, level: str, event_type: str, message: str, **fields: int | str
) -> None:
    """Append one record to the archiver's log file."""
    record = {
        "timestamp": archive.now().isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "level": level,
        "logger_name": "logstack.archive",
        "message": message,
        "service_name": ARCHIVER_SERVICE,
        "environment": archive.settings.stack.environment,
        "event_type": event_type,
        **fields,
    }
    with log_file(archive).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def log_file(archive: Archive) -> Path:
    archive.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return archive.folder / "records.log"
