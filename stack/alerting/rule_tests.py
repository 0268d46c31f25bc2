"""Runs the rule tests: every case's records into a throw-away engine, every rule's expression.

Each case has an environment of its own, so that all of them are in the engine at once and each
expression sees the records of its case and nothing else.
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
from stack.engines.kinds import Dialect
from stack.queries.evaluate import Evaluator, LokiEvaluator, Sample, VictoriaLogsEvaluator
from stack.queries.language import Query
from stack.settings import Settings

Alert = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Outcome:
    """How one case went. `problem` is "" when the alerts were the wanted ones."""

    case: Case
    engine: str
    problem: str


def rules_of(cases: Sequence[Case]) -> list[Rule]:
    """The rule of each case, with the settings that the case wants. Raises AlertError."""
    shipped = {rule.name: rule for rule in load_rules(shipped_settings())}
    found = []
    for case in cases:
        if not case.text.settings:
            found.append(shipped[case.rule])
            continue
        changed = load_rules(shipped_settings(case.text.settings))
        found.append(next(rule for rule in changed if rule.name == case.rule))
    return found


def environment_of(number: int) -> str:
    return f"case-{number}"


def run_with_victorialogs(settings: Settings, cases: Sequence[Case]) -> list[Outcome]:
    """Every case, in a VictoriaLogs of their own. Raises AlertError, ArtifactError, EngineError."""
    at = evaluation_time()
    with throwaway_victorialogs(settings) as engine:
        engine.push(records_of(cases, at))
        flush(engine)
        return run_cases(VictoriaLogsEvaluator(engine.url), "victorialogs", cases, at)


def run_with_loki(settings: Settings, cases: Sequence[Case]) -> list[Outcome]:
    """Every case, in a Loki of their own. Raises AlertError, EngineError."""
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
) -> list[Outcome]:
    """Evaluate every case's rule at `at`."""
    return [
        Outcome(case, engine, _problem(evaluator, case, rule, environment_of(number), at))
        for number, (case, rule) in enumerate(zip(cases, rules_of(cases), strict=True))
    ]


def evaluation_time() -> datetime:
    """Now, in whole seconds: that is how vmalert asks."""
    return datetime.now(UTC).replace(microsecond=0)


def _problem(evaluator: Evaluator, case: Case, rule: Rule, environment: str, at: datetime) -> str:
    query = rule.query(environment)
    wrong_kind = problem_with(case, rule, [s.value for s in evaluator.instant(query, at)])
    if wrong_kind:
        return wrong_kind
    text = expression(rule, environment, evaluator.dialect)
    samples = evaluator.instant(_as_query(query, text, evaluator.dialect), at)
    found = sorted(map(_alert, samples))
    wanted = sorted(tuple(sorted(labels.items())) for labels in case.text.alerts)
    if found == wanted:
        return ""
    values = [sample.value for sample in evaluator.instant(query, at)]
    return (
        f"wanted {_shown(wanted)}, found {_shown(found)}; the numbers are {values}, compared with "
        f"{rule.operator} {rule.threshold:g}\n    {text}"
    )


def _as_query(query: Query, text: str, dialect: Dialect) -> Query:
    return replace(query, logql=text) if dialect == "logql" else replace(query, logsql=text)


def _alert(sample: Sample) -> Alert:
    """Its labels. The environment is the case's own, an empty label is none."""
    return tuple(sorted((k, v) for k, v in sample.labels.items() if v and k != "environment"))


def _shown(alerts: Sequence[Alert]) -> str:
    if not alerts:
        return "no alert"
    return "; ".join(", ".join(f"{k}={v}" for k, v in alert) or "one alert" for alert in alerts)
