"""An engine with records of every kind, as if the sample app had run for two hours."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stack.engines.victorialogs import VictoriaLogs
from stack.evaluation import VictoriaLogsEvaluator
from stack.query_language import Scope
from tests.engines import push
from tests.queries.sample import SampleRecords, make_sample

SCOPE = Scope("dashboards")


@pytest.fixture(scope="session")
def recent() -> SampleRecords:
    """Records up to now, in an environment of their own."""
    return make_sample(datetime.now(UTC), environment=SCOPE.environment)


@pytest.fixture(scope="session")
def evaluator(victorialogs: VictoriaLogs, recent: SampleRecords) -> VictoriaLogsEvaluator:
    push(victorialogs, recent.records)
    return VictoriaLogsEvaluator(victorialogs.url)
