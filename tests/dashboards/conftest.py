"""An engine with records of every kind, like those of two hours of the sample app."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stack.engines.victorialogs import VictoriaLogs
from stack.queries.evaluate import VictoriaLogsEvaluator
from stack.queries.language import Scope
from tests.support.engines import push
from tests.support.query_sample import SampleRecords, health_records, make_sample

SCOPE = Scope("dashboards")


@pytest.fixture(scope="session")
def recent() -> SampleRecords:
    """Records up to now, in their own environment."""
    return make_sample(datetime.now(UTC), environment=SCOPE.environment)


@pytest.fixture(scope="session")
def evaluator(victorialogs: VictoriaLogs, recent: SampleRecords) -> VictoriaLogsEvaluator:
    push(victorialogs, [*recent.records, *health_records(recent.at, SCOPE.environment)])
    return VictoriaLogsEvaluator(victorialogs.url)
