"""Both engines: what the monitor measured is found, and a number of nothing is 0."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from stack.queries import catalogue as queries
from stack.queries import health
from stack.queries.evaluate import Evaluator, LokiEvaluator, VictoriaLogsEvaluator
from stack.queries.language import Query, Scope, over
from tests.support.engines import push
from tests.support.query_sample import Numbers, health_records

pytestmark = pytest.mark.native

EVALUATORS: dict[str, Callable[[str], Evaluator]] = {
    "victorialogs": VictoriaLogsEvaluator,
    "loki": LokiEvaluator,
}
SCOPE, NOWHERE, W = Scope("health"), Scope("nowhere"), over("1h")
NOW = datetime.now(UTC)


@pytest.fixture(scope="module", params=EVALUATORS)
def evaluator(request: pytest.FixtureRequest) -> Evaluator:
    """Each engine with the records of a monitor; Loki where it is on PATH."""
    engine = request.getfixturevalue(request.param)
    records = health_records(NOW, SCOPE.environment)
    push(engine, records)
    # An application's, which nobody believes.
    push(engine, [{**item, "service_name": "billing", "problem": "x"} for item in records])
    return EVALUATORS[request.param](engine.url)


def numbers(evaluator: Evaluator, query: Query) -> Numbers:
    found = evaluator.instant(query, NOW)
    return {tuple(sample.labels[name] for name in query.by): sample.value for sample in found}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (health.health_value(SCOPE, W, field="queue_bytes"), {"otelcol": 30}),
        (
            health.health_value(SCOPE, W, field="disk_free_bytes", smallest=True),
            {"otelcol": 5, "loki": 9},
        ),
        (health.problem_count(SCOPE, W), {"loki": 1}),
    ],
    ids=["largest", "smallest", "problems"],
)
def test_what_the_monitor_measured_is_found(
    query: Query, expected: dict[str, float], evaluator: Evaluator
) -> None:
    """A component that has no such value has no number."""
    assert numbers(evaluator, query) == {("logs-1", name): n for name, n in expected.items()}


def test_problems_are_found_as_records(evaluator: Evaluator) -> None:
    """Of any kind, where none is named."""
    query = health.problem_records(SCOPE)
    found = evaluator.records(query, NOW - timedelta(hours=1), NOW, limit=9)
    assert [record["problem"] for record in found] == ["disk_full"]


@pytest.mark.parametrize(
    "query",
    [
        queries.record_count(NOWHERE, W),
        queries.failed_jobs(NOWHERE, W),
        queries.active_services(NOWHERE, W),
    ],
    ids=lambda query: query.name,
)
def test_a_number_of_nothing_is_0(query: Query, evaluator: Evaluator) -> None:
    """So a tile without a number is one whose query failed."""
    assert numbers(evaluator, query) == {(): 0}
