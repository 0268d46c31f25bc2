"""Rules whose labels come from users: more of them than a message can name."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from stack import artifacts, settings
from stack.alerting.cases import shipped_settings
from stack.alerting.expressions import expression
from stack.alerting.rule_tests import as_query, evaluation_time
from stack.alerting.rules import load_rules
from stack.alerting.throwaway import flush, throwaway_loki, throwaway_victorialogs
from stack.queries.evaluate import Evaluator, LokiEvaluator, VictoriaLogsEvaluator
from stack.queries.where import LIMIT
from stack.records.timestamps import format_time
from tests.support.require import unavailable

pytestmark = pytest.mark.native
EACH = 12  # failed logins, more than thresholds.login_failures_user


def failures(at: datetime, names: int) -> list[dict[str, Any]]:
    """As many failed logins for each of `names` users, spread over five minutes."""
    return [
        {
            "timestamp": format_time(at - timedelta(seconds=290) + timedelta(seconds=20 * number)),
            "level": "WARNING",
            "logger_name": "erp.auth",
            "message": "login failed",
            "service_name": "erp",
            "environment": "prod",
            "event_type": "user_login_failed",
            "username": f"user-{name:04}",
            "client_ip": f"192.0.2.{name % 250}",
        }
        for number in range(EACH)
        for name in range(names)
    ]


def named(evaluator: Evaluator, at: datetime) -> set[str]:
    """The users of LoginBruteForceByUser at a time."""
    rules = load_rules(shipped_settings())
    rule = next(item for item in rules if item.name == "LoginBruteForceByUser")
    query = rule.query("prod")
    text = expression(rule, "prod", evaluator.dialect)
    samples = evaluator.instant(as_query(query, text, evaluator.dialect), at)
    return {sample.labels["username"] for sample in samples}


def check_names(evaluator: Evaluator, at: datetime) -> None:
    found = [named(evaluator, at + timedelta(seconds=second % 3)) for second in range(6)]
    assert all(names == found[0] for names in found)
    assert len(found[0]) >= LIMIT  # Loki names all of those that are equal


def test_of_equal_counts_the_same_are_named_each_time_by_victorialogs(binaries: None) -> None:
    """Otherwise alerts fire and end while nothing changes."""
    at = evaluation_time()
    with throwaway_victorialogs(settings.load({})) as engine:
        engine.push(failures(at, LIMIT + 20))
        flush(engine)
        check_names(VictoriaLogsEvaluator(engine.url), at)


@pytest.mark.loki
def test_of_equal_counts_the_same_are_named_each_time_by_loki(binaries: None) -> None:
    if not artifacts.is_available("loki", settings.load({})):
        unavailable("loki", "loki is not on PATH")
    at = evaluation_time()
    with throwaway_loki(settings.load({})) as engine:
        engine.push(failures(at, LIMIT + 20))
        check_names(LokiEvaluator(engine.url), at)
