"""A day on which nothing is wrong, and the night after it: no rule fires but the watchdog."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

import pytest

from stack import artifacts, settings
from stack.alerting.cases import shipped_settings
from stack.alerting.expressions import expression
from stack.alerting.rule_tests import as_query, evaluation_time
from stack.alerting.rules import load_rules
from stack.alerting.throwaway import flush, throwaway_loki, throwaway_victorialogs
from stack.engines.loki import Loki
from stack.engines.victorialogs import VictoriaLogs
from stack.queries.evaluate import Evaluator, LokiEvaluator, VictoriaLogsEvaluator
from stack.records.timestamps import format_time
from stack.settings import Settings
from tests.support.require import unavailable

pytestmark = pytest.mark.native

DAYS = 9  # the longest look back of a rule that is on is a week
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
# Work ended nine hours ago and lasted ten, on each day; the job runs at night.
WORK_ENDS, WORK_BEGINS, JOB = 9, 19, 3
# Hours ago: the night, the job, the end, the middle and the beginning of work, the night before.
MOMENTS = (0, 2.98, 3.2, 6, 8.9, 9.1, 12, 15.5, 18.95, 19.2, 22, 26.95)
REQUEST: dict[str, Any] = {
    "event_type": "request_finished",
    "method": "GET",
    "status": 200,
    "duration_ms": 120.0,
}
Start = Callable[[Settings], AbstractContextManager[VictoriaLogs | Loki]]


def records(at: datetime) -> Iterator[dict[str, Any]]:
    """Nine days of an ERP of two services, the stack's own records among them."""

    def one(age: timedelta, service: str = "erp", **fields: Any) -> dict[str, Any]:
        return {
            "timestamp": format_time(at - age),
            "level": "INFO",
            "logger_name": "erp.views",
            "message": "all is well",
            "service_name": service,
            "environment": "prod",
            "host": "app-1",
            **fields,
        }

    for day in range(DAYS):
        for minutes in range(0, 24 * 60, 5):
            age = timedelta(days=day, minutes=minutes)
            hour = minutes / 60
            yield one(age, "logstack-monitor", event_type="component_health", component="otelcol")
            if WORK_ENDS <= hour < WORK_BEGINS:
                for second in range(12):
                    yield one(age + timedelta(seconds=20 * second), **REQUEST, path="/orders/")
                yield one(age, **{**REQUEST, "status": 404}, level="WARNING", path="/favicon.ico")
            if minutes % 60 == 0:
                yield one(age, "logstack-archiver", event_type="archive_run_finished")
            if minutes % 60 == 0 and WORK_ENDS <= hour < WORK_BEGINS:
                who = {"username": f"user-{minutes}", "client_ip": "192.0.2.1"}
                yield one(age, event_type="user_login", **who)
                yield one(age, event_type="user_login_failed", level="WARNING", **who)
                yield one(age, "billing", level="ERROR", exception_type="TimeoutError",
                          message="the bank did not answer, the next run asks again")  # fmt: skip
                for minute in range(0, 60, 5):
                    yield one(age + minute * MINUTE, "billing")
        yield one(timedelta(days=day, hours=JOB), "billing", event_type="job_finished")
    for seconds in range(0, 27 * 3600, 60):
        yield one(timedelta(seconds=seconds), "logstack-monitor", event_type="component_health")


@pytest.mark.parametrize(
    ("start", "evaluate", "is_there"),
    [
        pytest.param(throwaway_victorialogs, VictoriaLogsEvaluator, True, id="victorialogs"),
        pytest.param(
            throwaway_loki,
            LokiEvaluator,
            artifacts.is_available("loki", settings.load({})),
            id="loki",
            marks=pytest.mark.loki,
        ),
    ],
)
def test_no_rule_fires_on_a_quiet_day(
    start: Start, evaluate: Callable[[str], Evaluator], is_there: bool, binaries: None
) -> None:
    """Neither at work nor at night, when nobody works and the monitors alone are heard."""
    if not is_there:
        unavailable("loki", "loki is not on PATH")
    at = evaluation_time()
    rules = load_rules(shipped_settings())
    fired = set()
    with start(settings.load({})) as engine:
        engine.push(sorted(records(at), key=lambda item: str(item["timestamp"])))
        if isinstance(engine, VictoriaLogs):
            flush(engine)
        evaluator = evaluate(engine.url)
        for rule in rules:
            query = rule.query("prod")
            text = expression(rule, "prod", evaluator.dialect)
            query = as_query(query, text, evaluator.dialect)
            for ago in MOMENTS:
                for sample in evaluator.instant(query, at - ago * HOUR):
                    fired.add((rule.name, ago, tuple(sample.labels.items()), sample.value))
    wrong = {item for item in fired if item[0] != "Watchdog"}
    assert wrong == set()
    assert {item[1] for item in fired} == set(MOMENTS)  # the watchdog, each time
