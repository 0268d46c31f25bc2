"""What Loki had in memory is read back at its start, or counted."""

from __future__ import annotations

from typing import Any

import pytest

from stack.monitor import accounts
from stack.monitor.history import History


def loki(moment: float, started: float, recovered: float, taken: float, stored: float = 0) -> Any:
    values = {
        "started_s": started,
        "rows_recovered": recovered,
        "rows_taken": taken,
        "rows_flushed": stored,
    }
    return moment, {"loki": {name: {"": value} for name, value in values.items()}}


@pytest.mark.parametrize(
    ("looks", "lost"),
    [
        # it started again and has everything; some that came after the last look, too
        ([(30, 0, 0, 1000), (60, 50, 1000, 0), (90, 50, 1000, 100)], 0),
        ([(30, 0, 0, 1000), (60, 50, 1200, 0), (90, 50, 1200, 100)], 0),
        # what is in its store does not come back; a repeated record was ignored
        ([(30, 0, 0, 1000, 600), (60, 50, 400, 0), (90, 50, 400, 100)], 0),
        ([(30, 0, 0, 1000), (60, 50, 995, 0), (90, 50, 995, 100)], 0),
        # it still reads
        ([(30, 0, 0, 1000), (60, 50, 10, 0)], 0),
        ([(30, 0, 0, 1000), (60, 50, 10, 0), (90, 50, 700, 0)], 0),
        # half of it is gone, and of that half again
        ([(30, 0, 0, 1000), (60, 50, 500, 0), (90, 50, 500, 9)], 500),
        (
            [
                (30, 0, 0, 800),
                (60, 50, 400, 0),
                (90, 50, 400, 0),
                (120, 99, 200, 0),
                (150, 99, 200, 0),
            ],
            600,
        ),
    ],
)
def test_records_that_loki_does_not_read_back_are_counted(
    looks: list[tuple[float, ...]], lost: int
) -> None:
    """In memory before a start = read back after it."""
    known = History([loki(*look) for look in looks])
    assert accounts.lost_at_start(known, "loki") == lost
