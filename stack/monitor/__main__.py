"""`python -m stack.monitor run FOLDER`, or `look FOLDER`, which prints one look as JSON.

The folder has the plan. Runs on hosts, too, where nothing else of this project is.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stack.common.counted import counted
from stack.monitor import history, notifications
from stack.monitor.alerts import OwnAlert, read_alerts, tell
from stack.monitor.look import look
from stack.monitor.model import Observation, to_json
from stack.monitor.plan import Plan, read_plan
from stack.monitor.unread import Watch

SERVICE, LOGGER, EVENT = "logstack-monitor", "logstack.monitor", "component_health"
MOST_BYTES = 5_000_000  # of the file of records before it is renamed


def main(arguments: list[str]) -> int:
    """The exit status: 1 where nothing can be seen, 2 for wrong arguments."""
    if len(arguments) != 2 or arguments[0] not in ("run", "look", "check"):
        sys.stderr.write("usage: python -m stack.monitor run|look|check FOLDER\n")
        return 2
    try:
        plan = read_plan(Path(arguments[1]))
        own = read_alerts(Path(arguments[1]))
        if arguments[0] == "check":
            return 0
        if arguments[0] == "look":
            _, found = look(plan, history.load(Path(plan.folder)))
            sys.stdout.write(f"{to_json(found)}\n")
            return 0
        _run(plan, own)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot watch the stack: {error}\n")
        return 1
    return 0


def _run(plan: Plan, own: tuple[OwnAlert, ...]) -> None:
    """Look at every interval, until stopped."""
    known = history.load(Path(plan.folder))
    files = Watch(plan)
    files.start()
    while True:
        began = time.monotonic()
        files.note(known.notes)
        view, found = look(plan, known)
        write(plan, records(plan, found, view.now))
        try:
            tell(own, view, found)
            notifications.keep_alerts(view)
            known.save(Path(plan.folder))
        except (OSError, ValueError, KeyError) as error:
            sys.stderr.write(f"cannot keep what was seen: {error!r}\n")
        time.sleep(max(1.0, plan.interval_s - (time.monotonic() - began)))


def records(plan: Plan, found: Iterable[Observation], now: float) -> Iterator[dict[str, Any]]:
    """One record of the contract per observation, and one more per problem."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    frame = {
        "timestamp": f"{moment}.{int(now % 1 * 1e6):06d}Z",
        "logger_name": LOGGER,
        "service_name": SERVICE,
        "environment": plan.environment,
        "event_type": EVENT,
    }
    for item in found:
        name = item.component + (f" to {item.destination}" if item.destination else "")
        count = counted(len(item.problems), "problem") if item.problems else "no problems"
        place = {"component": item.component}
        if item.destination:
            place["destination"] = item.destination
        yield {
            **frame,
            "level": "INFO",
            "message": f"{name}: {count}",
            **place,
            **item.values,
        }
        for problem in item.problems:
            yield {
                **frame,
                "level": "INFO" if problem.note else "WARNING",
                "message": f"{problem.cause} ({problem.evidence}). Run: {problem.command}",
                **place,
                "problem": problem.name,
                **({"watched_service": problem.service} if problem.service else {}),
            }


def write(plan: Plan, rows: Iterable[dict[str, Any]]) -> None:
    """Append records to the file of the plan, or print them. Raises OSError."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if not plan.records:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    path = Path(plan.records)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and path.stat().st_size > MOST_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))  # the agent reads it to its end
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
