"""What engines take, store and drop, and whether they accept records."""

from __future__ import annotations

from collections.abc import Iterator

from stack.common.counted import counted
from stack.monitor import accounts, logs
from stack.monitor.model import Observation, Problem, Value
from stack.monitor.view import View

REASONS = {
    "too_small_timestamp": "their time is older than the engine takes",
    "too_big_timestamp": "their time is further ahead than the engine takes",
    "too_many_fields": "they have too many fields",
    "greater_than_max_sample_age": "their time is older than the engine takes",
    "too_far_in_future": "their time is further ahead than the engine takes",
    "rate_limited": "more arrive than limits.ingestion_rate",
    "stream_limit": "there are more label combinations than limits.streams",
    "line_too_long": "their lines are too long",
}
"""What the engines' reasons for dropping records mean."""
COUNTED = ("rows_taken", "slow_queries", "lines_skipped")


def look(view: View) -> Iterator[Observation]:
    """One observation of the engine."""
    engine = view.plan.engine
    if engine not in view.samples:
        return
    values: dict[str, Value] = {
        f"{field}_10m": round(view.history.increase(engine, field))
        for field in COUNTED
        if field in view.samples[engine]
    }
    dropped = {
        reason: round(view.history.increase(engine, "rows_dropped", reason))
        for reason in view.samples[engine].get("rows_dropped", {})
    }
    values["dropped_rows_10m"] = sum(dropped.values())
    missing = accounts.lost_by_engine(view.history, engine) if view.plan.keeps else 0
    if engine in view.processes and not view.processes[engine].answer:
        missing += accounts.lost_at_start(view.history, engine)
    values["lost_rows_10m"] = missing
    read_only = bool(view.value(engine, "is_read_only")) or bool(
        view.history.increase(engine, "disk_full_failures")
    )
    values["is_read_only"] = int(read_only)
    yield Observation(
        engine, values=values, problems=tuple(_problems(view, dropped, missing, read_only))
    )


def _problems(
    view: View, dropped: dict[str, int], missing: int, read_only: bool
) -> Iterator[Problem]:
    engine = view.plan.engine
    program = view.plan.program(engine)
    folder = program.folder if program else ""
    show = view.plan.show(engine)
    if read_only:
        yield Problem(
            "engine_read_only",
            f"{engine} accepts no records: less than limits.free_disk is free on its disk",
            f"its metrics say so; records wait in the agents' queues, {folder}",
            f"df -h '{folder}'",
        )
    for reason, number in dropped.items():
        if number:
            yield Problem(
                "records_dropped",
                f"{engine} dropped {counted(number, 'record')} in ten minutes: "
                f"{REASONS.get(reason, reason)}",
                _warning(view) or f"rows dropped for {reason}",
                show,
            )
    if missing:
        ended = view.processes[engine].exits if engine in view.processes else ()
        why = "it ended by itself" if ended else "it accepted them and does not have them"
        yield Problem(
            "records_dropped",
            f"{engine} lost at least {counted(missing, 'record')} in ten minutes: {why}",
            _warning(view) or "the records that it took and those that it stores differ",
            show,
        )


def _warning(view: View) -> str:
    """The engine's newest warning about records that it ignores, without what was in the record."""
    program = view.plan.program(view.plan.engine)
    for line in reversed(logs.lines_of(program, view.plan)) if program else ():
        if "ignoring" in line or "skipping log entry" in line or "dropping" in line:
            return logs.message_of(line).partition("{")[0].rstrip(" ;:")
    return ""
