"""Runs the rule tests: pushes the records into a temporary engine and evaluates the rules.

Each case has its own environment: all cases are in the engine at once, and each expression sees
only the records of its case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from stack.alerting.cases import Case, problem_with, shipped_settings
from stack.alerting.expressions import expression
from stack.alerting.rules import Rule, load_rules
from stack.alerting.throwaway import flush, throwaway_loki, throwaway_victorialogs
from stack.engines.kind import Dialect
from stack.queries.evaluate import Evaluator, LokiEvaluator, Sample, VictoriaLogsEvaluator
from stack.queries.language import Query
from stack.settings import Settings

Alert = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CaseResult:
    """The result of one case. `problem` is "" when the alerts were the expected ones."""

    case: Case
    engine: str
    problem: str


def rules_of(cases: Sequence[Case]) -> list[Rule]:
    """The rule of each case, with the settings of the case. Raises AlertError."""
    shipped = {rule.name: rule for rule in load_rules(shipped_settings(), with_disabled=True)}
    found = []
    for case in cases:
        if not case.text.settings:
            found.append(shipped[case.rule])
            continue
        changed = load_rules(shipped_settings(case.text.settings), with_disabled=True)
        found.append(next(rule for rule in changed if rule.name == case.rule))
    return found


def environment_of(number: int) -> str:
    """The environment of the records of a case."""
    return f"case-{number}"


def run_with_victorialogs(settings: Settings, cases: Sequence[Case]) -> list[CaseResult]:
    """Run the cases on a temporary VictoriaLogs.

    Raises AlertError, ArtifactError, EngineError.
    """
    at = evaluation_time()
    with throwaway_victorialogs(settings) as engine:
        engine.push(records_of(cases, at))
        flush(engine)
        return run_cases(VictoriaLogsEvaluator(engine.url), "victorialogs", cases, at)


def run_with_loki(settings: Settings, cases: Sequence[Case]) -> list[CaseResult]:
    """Run the cases on a temporary Loki. Raises AlertError, EngineError."""
    at = evaluation_time()
    with throwaway_loki(settings) as engine:
        engine.push(records_of(cases, at))
        return run_cases(LokiEvaluator(engine.url), "loki", cases, at)


def records_of(cases: Sequence[Case], at: datetime) -> list[dict[str, Any]]:
    """The records of all cases."""
    return [
        record
        for number, case in enumerate(cases)
        for record in case.records(environment_of(number), at)
    ]


def run_cases(
    evaluator: Evaluator, engine: str, cases: Sequence[Case], at: datetime
) -> list[CaseResult]:
    """Evaluate every case's rule at `at`."""
    return [
        CaseResult(case, engine, _problem(evaluator, case, rule, environment_of(number), at))
        for number, (case, rule) in enumerate(zip(cases, rules_of(cases), strict=True))
    ]


def evaluation_time() -> datetime:
    """Now, in whole seconds as vmalert uses them."""
    return datetime.now(UTC).replace(microsecond=0)


def _problem(evaluator: Evaluator, case: Case, rule: Rule, environment: str, at: datetime) -> str:
    query = rule.query(environment)
    wrong_kind = problem_with(case, rule, [s.value for s in evaluator.instant(query, at)])
    if wrong_kind:
        return wrong_kind
    text = expression(rule, environment, evaluator.dialect)
    samples = evaluator.instant(as_query(query, text, evaluator.dialect), at)
    got = sorted(map(_alert, samples))
    expected = sorted(tuple(sorted(labels.items())) for labels in case.text.alerts)
    if got == expected:
        return ""
    values = [sample.value for sample in evaluator.instant(query, at)]
    return (
        f"expected {_describe(expected)}, got {_describe(got)}; the numbers are {values}, compared "
        f"with {rule.operator} {rule.threshold:g}\n    {text}"
    )


def as_query(query: Query, text: str, dialect: Dialect) -> Query:
    """The query with another text."""
    return replace(query, logql=text) if dialect == "logql" else replace(query, logsql=text)


def _alert(sample: Sample) -> Alert:
    """The labels of an alert, without empty ones and without the environment of the case."""
    return tuple(sorted((k, v) for k, v in sample.labels.items() if v and k != "environment"))


def _describe(alerts: Sequence[Alert]) -> str:
    if not alerts:
        return "no alert"
    return "; ".join(", ".join(f"{k}={v}" for k, v in alert) or "one alert" for alert in alerts)
