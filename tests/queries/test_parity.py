"""Every query gives the numbers that Python computes from the same records, in both dialects."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stack.queries import catalogue as queries
from stack.queries.catalogue import (
    ADMIN_EVENTS,
    ERROR_LEVELS,
    JOB_EVENTS,
    LOSS_EVENTS,
    SECURITY_EVENTS,
)
from stack.queries.evaluate import Evaluator, LokiEvaluator, VictoriaLogsEvaluator
from stack.queries.language import Query, Scope, over, per_step
from stack.records.contract import normalise
from tests.support.engines import push
from tests.support.query_numbers import (
    counted,
    duration,
    failures_by_route,
    is_error,
    rate,
    slowest,
    status_classes,
    where,
)
from tests.support.query_sample import (
    ENVIRONMENT,
    Json,
    Numbers,
    SampleRecords,
    field_bytes,
    grouped_values,
    line_bytes,
    make_sample,
    share,
)

pytestmark = pytest.mark.native

SCOPE = Scope(ENVIRONMENT)
EVALUATORS: dict[str, Callable[[str], Evaluator]] = {
    "victorialogs": VictoriaLogsEvaluator,
    "loki": LokiEvaluator,
}
HOUR = timedelta(hours=1)
TWO_HOURS = over("2h")


@dataclass(frozen=True)
class Case:
    """A query, and the numbers that Python finds for it in the records of the last two hours."""

    query: Query
    expected: Callable[[list[Json]], Numbers]
    limit: int = 0
    tolerance: float = 1e-9


@pytest.fixture(scope="module")
def sample() -> SampleRecords:
    now = datetime.now(UTC)
    return make_sample(now.replace(minute=0, second=0, microsecond=0))


@pytest.fixture(scope="module", params=["victorialogs", "loki"])
def evaluator(request: pytest.FixtureRequest, sample: SampleRecords) -> Evaluator:
    """Each engine with the same records; Loki where it is on PATH."""
    engine = request.getfixturevalue(request.param)
    push(engine, sample.records)
    return EVALUATORS[request.param](engine.url)


REQUEST = {"event_type": "request_finished"}
W = TWO_HOURS
CASES = [
    Case(queries.records_by_level(SCOPE, W), counted("level")),
    Case(queries.record_count(SCOPE, W), counted()),
    Case(queries.record_count(SCOPE, W, levels=("CRITICAL",)), counted(level="CRITICAL")),
    Case(
        queries.record_count(Scope(ENVIRONMENT, ("billing", "erp-worker")), W),
        counted(service_name=("billing", "erp-worker")),
    ),
    Case(
        queries.record_count(Scope(ENVIRONMENT, (), "7"), W),
        counted(organization_id=7),
    ),
    Case(
        queries.records_by_field(SCOPE, W, field="logger_name"),
        counted("logger_name", logger_name=None),
    ),
    Case(
        queries.records_by_field(SCOPE, W, field="username", levels=ERROR_LEVELS),
        counted("username", username=None, level=ERROR_LEVELS),
    ),
    Case(queries.record_rate(SCOPE, W), rate("service_name")),
    Case(
        queries.active_services(SCOPE, W),
        lambda records: {(): float(len({r["service_name"] for r in records}))},
    ),
    Case(
        queries.error_ratio(SCOPE, W), lambda records: share(records, is_error, ("service_name",))
    ),
    Case(queries.error_ratio(SCOPE, W, by=()), lambda records: share(records, is_error, ())),
    Case(
        queries.top_exception_types(SCOPE, W, limit=3),
        counted("exception_type", exception_type=None),
        limit=3,
    ),
    Case(
        queries.top_exception_types(SCOPE, W, exception_type="KeyError"),
        counted("exception_type", exception_type="KeyError"),
    ),
    Case(
        queries.exceptions_by_field(SCOPE, W, field="organization_id", limit=20),
        counted("organization_id", exception_type=None),
    ),
    Case(
        queries.jobs_by_outcome(SCOPE, W),
        counted("event_type", event_type=JOB_EVENTS),
    ),
    Case(
        queries.failed_jobs(SCOPE, W),
        counted(event_type=("job_failed", "task_failed")),
    ),
    Case(queries.requests_by_status_class(SCOPE, W), status_classes),
    Case(queries.request_rate(SCOPE, W), rate("service_name", **REQUEST)),
    Case(
        queries.requests_by_field(SCOPE, W, field="route"),
        counted("route", route=None, **REQUEST),
    ),
    Case(
        queries.requests_by_field(SCOPE, W, field="route", at_least_status=500), failures_by_route
    ),
    Case(
        queries.requests_by_field(SCOPE, W, field="username", limit=2),
        counted("username", **REQUEST),
        limit=2,
    ),
    Case(
        queries.server_error_ratio(SCOPE, W),
        lambda records: share(
            where(**REQUEST)(records), lambda r: bool(r["status"] >= 500), ("service_name",)
        ),
    ),
    Case(
        queries.server_error_ratio(SCOPE, W, by=("route",)),
        lambda records: share(
            where(**REQUEST)(records), lambda r: bool(r["status"] >= 500), ("route",)
        ),
    ),
    *(
        Case(
            queries.request_duration(SCOPE, W, quantile=level),
            duration(level, "route"),
            tolerance=0.01,
        )
        for level in (0.5, 0.95, 0.99)
    ),
    Case(
        queries.request_duration(SCOPE, W, quantile=0.95, by=("service_name",)),
        duration(0.95, "service_name"),
        tolerance=0.01,
    ),
    Case(queries.request_duration(SCOPE, W, quantile=0.9, by=()), duration(0.9), tolerance=0.01),
    Case(queries.slowest_requests(SCOPE, W, at_least_ms=400, limit=10), slowest, limit=10),
    Case(
        queries.records_by_organization(SCOPE, W, limit=20),
        counted("organization_id", organization_id=None),
    ),
    Case(
        queries.errors_by_organization(SCOPE, W, limit=20),
        counted("organization_id", organization_id=None, level=ERROR_LEVELS),
    ),
    Case(
        queries.security_events(SCOPE, W),
        counted("event_type", event_type=SECURITY_EVENTS),
    ),
    Case(
        queries.login_failures(SCOPE, W),
        counted("client_ip", event_type="user_login_failed"),
    ),
    Case(
        queries.login_failures(SCOPE, W, by=("username",)),
        counted("username", event_type="user_login_failed"),
    ),
    Case(
        queries.login_failures(SCOPE, W, named=True),
        counted("client_ip", event_type="user_login_failed", client_ip=None),
    ),
    Case(queries.permission_denials(SCOPE, W), counted("username", event_type="permission_denied")),
    Case(
        queries.permission_denials(SCOPE, W, named=True),
        counted("username", event_type="permission_denied", username=None),
    ),
    Case(
        queries.admin_actions(SCOPE, W),
        counted("event_type", "username", event_type=ADMIN_EVENTS),
    ),
    Case(
        queries.data_exports(SCOPE, W, limit=100),
        counted("username", "organization_id", event_type="data_exported"),
    ),
    Case(
        queries.unparsed_share(SCOPE, W),
        lambda records: share(
            records, lambda r: bool(r.get("format") == "text"), ("service_name",)
        ),
    ),
    Case(queries.loss_events(SCOPE, W), counted("event_type", event_type=LOSS_EVENTS)),
]


def case_id(case: Case) -> str:
    return case.query.name


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_query_gives_the_numbers_computed_in_python(
    case: Case, evaluator: Evaluator, sample: SampleRecords
) -> None:
    """Exactly for counts, within one percent for quantiles; the largest ones where limited."""
    expected = case.expected(sample.within(2 * HOUR))
    assert expected
    found = by_labels(case.query, evaluator.instant(case.query, sample.at))
    if case.limit:
        assert len(expected) > case.limit, "the records have too few values to limit"
        assert sorted(found.values(), reverse=True) == pytest.approx(
            sorted(expected.values(), reverse=True)[: case.limit]
        )
        expected = {key: expected[key] for key in found}
    assert found == pytest.approx(expected, rel=case.tolerance)


STEP = timedelta(minutes=5)
STEPPED = per_step("5m")
STEP_CASES = [
    Case(queries.records_by_level(SCOPE, STEPPED), counted("level")),
    Case(queries.requests_by_status_class(SCOPE, STEPPED), status_classes),
    Case(
        queries.error_ratio(SCOPE, STEPPED),
        lambda records: share(records, is_error, ("service_name",)),
    ),
    Case(
        queries.security_events(SCOPE, STEPPED), counted("event_type", event_type=SECURITY_EVENTS)
    ),
    Case(
        queries.request_duration(SCOPE, STEPPED, quantile=0.5, by=("service_name",)),
        duration(0.5, "service_name"),
        # Few requests in a step, so that the definitions differ by up to the gap between two.
        tolerance=0.05,
    ),
]


@pytest.mark.parametrize("case", STEP_CASES, ids=case_id)
def test_each_step_of_a_chart_has_its_own_numbers(
    case: Case, evaluator: Evaluator, sample: SampleRecords
) -> None:
    """A step covers [start, start + step) in both dialects, without gap and without overlap."""
    series = evaluator.over_time(case.query, sample.at - 2 * HOUR, sample.at, STEP)
    for number in range(24):
        start = sample.at - 2 * HOUR + number * STEP
        records = sample.within(STEP, before=sample.at - start - STEP)
        found = {
            tuple(item.labels.values()): item.points[start]
            for item in series
            if start in item.points
        }
        assert found == pytest.approx(case.expected(records), rel=case.tolerance), start


def test_new_exception_types_are_those_that_the_day_before_did_not_have(
    evaluator: Evaluator, sample: SampleRecords
) -> None:
    """Two types occur in the last hour only; the others are known, however often they occur."""
    query = queries.new_exception_types(SCOPE, over("1h"))
    found = by_labels(query, evaluator.instant(query, sample.at))
    recent = counted("exception_type", exception_type=None)(sample.within(HOUR))
    known = counted("exception_type", exception_type=None)(sample.within(24 * HOUR, before=HOUR))
    assert found == {key: value for key, value in recent.items() if key not in known}
    assert len(found) == 2


def test_record_age_is_the_time_since_the_newest_record(
    evaluator: Evaluator, sample: SampleRecords
) -> None:
    """In seconds, of each service, by the engine's clock."""
    query = queries.record_age(SCOPE, over("3h"))
    found = by_labels(query, evaluator.instant(query, datetime.now(UTC)))
    now = datetime.now(UTC)
    newest = {(r["service_name"],): datetime.fromisoformat(r["timestamp"]) for r in sample.records}
    expected = {key: (now - moment).total_seconds() for key, moment in newest.items()}
    assert found == pytest.approx(expected, abs=5)


def test_bytes_are_those_that_the_engine_keeps(evaluator: Evaluator, sample: SampleRecords) -> None:
    """Loki counts lines, VictoriaLogs the values of fields: each exactly."""
    size = {"logql": line_bytes, "logsql": field_bytes}[evaluator.dialect]
    query = queries.bytes_by_field(SCOPE, TWO_HOURS)
    sizes = [{**record, "size": size(record)} for record in sample.within(2 * HOUR)]
    expected = {
        key: sum(values) for key, values in grouped_values(sizes, "size", ("service_name",)).items()
    }
    assert by_labels(query, evaluator.instant(query, sample.at)) == expected


def test_every_query_is_asked_here() -> None:
    """A query that is added without its numbers is found."""
    asked = {case.query.name for case in (*CASES, *STEP_CASES)} | {q.name for q, _ in LINES}
    asked |= {"new_exception_types", "record_age", "bytes_by_field", "deployments"}
    functions = inspect.getmembers(queries, inspect.isfunction)
    own = {name for name, function in functions if function.__module__ == queries.__name__}
    assert own == asked


def by_labels(query: Query, samples: Any) -> Numbers:
    found = {tuple(sample.labels[name] for name in query.by): sample.value for sample in samples}
    assert len(found) == len(samples), "two numbers with the same labels"
    return found


# --- Whole records

LINES = [
    (queries.records(SCOPE), where()),
    (queries.records(SCOPE, levels=ERROR_LEVELS), where(level=ERROR_LEVELS)),
    (queries.exception_records(SCOPE), where(exception_type=None)),
    (
        queries.exception_records(SCOPE, exception_type="KeyError"),
        where(exception_type="KeyError"),
    ),
    (
        queries.event_records(SCOPE, events=SECURITY_EVENTS),
        where(event_type=SECURITY_EVENTS),
    ),
    (queries.unparsed_records(SCOPE), where(format="text")),
    (queries.records_of(SCOPE, "req-01234"), where(request_id="req-01234")),
    (queries.records_of(SCOPE, f"{600:032x}"), where(trace_id=f"{600:032x}")),
]


@pytest.mark.parametrize(
    ("query", "chosen"), LINES, ids=[f"{n}-{q.name}" for n, (q, _) in enumerate(LINES)]
)
def test_record_queries_give_the_records_back(
    query: Query,
    chosen: Callable[[list[Json]], list[Json]],
    evaluator: Evaluator,
    sample: SampleRecords,
) -> None:
    """The newest ones, in order of time, equal in every field and type."""
    expected = [normalise(record) for record in chosen(sample.within(2 * HOUR))][-300:]
    assert expected
    found = evaluator.records(query, sample.at - 2 * HOUR, sample.at, limit=300)
    assert found == expected


@pytest.mark.parametrize(
    "query",
    [
        queries.exception_records(SCOPE, readable=True),
        queries.unparsed_records(SCOPE, readable=True),
        queries.deployments(SCOPE),
    ],
    ids=lambda query: query.name,
)
def test_readable_records_show_the_message_and_the_traceback(
    query: Query, evaluator: Evaluator, sample: SampleRecords
) -> None:
    """In place of the JSON line, with the traceback below the message."""
    chosen = {
        "exception_records": where(exception_type=None),
        "unparsed_records": where(format="text"),
        "deployments": where(event_type="deployed"),
    }[query.name](sample.within(2 * HOUR))
    expected = [
        "\n".join(filter(None, [record["message"], record.get("stack_trace")]))
        for record in chosen[-100:]
    ]
    assert expected
    found = evaluator.records(query, sample.at - 2 * HOUR, sample.at, limit=100)
    assert [record["message"] for record in found] == expected
