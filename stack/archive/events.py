"""The archiver's own log records, in the same form as every service's.

The agent ships them; the alert rules of the archive query them.
"""

from __future__ import annotations

import json
import sys

from stack.archive.context import Archive
from stack.records.contract import ARCHIVER_SERVICE


def record_event(
    archive: Archive, level: str, event_type: str, message: str, **fields: int | str
) -> None:
    """Append one record to the archiver's log file, or print it where there is none."""
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
    line = json.dumps(record, ensure_ascii=False) + "\n"
    if archive.records is None:
        sys.stdout.write(line)
        sys.stdout.flush()
        return
    archive.records.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with archive.records.open("a", encoding="utf-8") as file:
        file.write(line)
