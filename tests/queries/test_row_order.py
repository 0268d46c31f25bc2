"""`logstack query` prints the same rows in the same order each time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stack.cli.logs import in_order
from stack.engines import Selection
from stack.engines.loki import Loki
from stack.engines.victorialogs import VictoriaLogs
from stack.records.timestamps import format_time
from tests.support.engines import push
from tests.support.native_stack import marker, record

pytestmark = pytest.mark.native
NOW = datetime.now(UTC)


@pytest.fixture(params=["victorialogs", "loki"])
def engine(request: pytest.FixtureRequest) -> VictoriaLogs | Loki:
    found: VictoriaLogs | Loki = request.getfixturevalue(request.param)
    return found


def test_rows_of_one_time_have_an_order_of_their_own(engine: VictoriaLogs | Loki) -> None:
    """Of several services, the rows of each time by their content, and the times in order."""
    mark = marker()
    times = [format_time(NOW - timedelta(minutes=minutes)) for minutes in (3, 2, 1)]
    rows = [
        record(f"{n:03}", timestamp=times[n // 100], service_name=f"s{n % 7}", environment=mark)
        for n in range(300)
    ]
    push(engine, rows)
    query = f'{{environment="{mark}"}}'
    when = Selection(since=NOW - timedelta(hours=1), until=NOW)
    found = in_order(engine.query(query, when, limit=1000), query)
    assert len(found) == 300
    content = [(row["_time"], str(sorted(row.items()))) for row in found]
    assert [time for time, _ in content] == sorted(time for time, _ in content)
    again = [in_order(engine.query(query, when, limit=1000), query) for _ in range(5)]
    assert all(rows == found for rows in again)


def test_a_query_that_sorts_and_rows_without_a_time_stay_as_they_are() -> None:
    """Their order is the query's."""
    rows = [{"_time": "1", "x": "b"}, {"_time": "1", "x": "a"}]
    assert in_order(rows, "* | sort by (x) desc") == rows
    assert in_order([{"x": "b"}, {"x": "a"}], "* | uniq by (x)") == [{"x": "b"}, {"x": "a"}]
    assert in_order(rows, "*") == rows[::-1]
