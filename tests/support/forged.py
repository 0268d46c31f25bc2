"""Records that only the stack itself may write, as somebody else writes them."""

from __future__ import annotations

from stack.checks.doctor import SUBJECTS
from stack.monitor.__main__ import EVENT
from stack.records.contract import ARCHIVER_SERVICE, MONITOR_SERVICE

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
