"""The exact text of queries, and what arguments they refuse."""

from __future__ import annotations

import re

import pytest

from stack.queries import catalogue as queries
from stack.queries.language import Query, QueryError, Scope, over, per_step
from tests.support.every_query import every_query

SCOPE = Scope("prod", ("erp-backend-api", "erp.worker"), "45")
GRAFANA = Scope("$environment", ("$service",), "$organization_id")


def test_a_count_in_both_dialects() -> None:
    """Labels in the selector, metadata behind it, time only where it is not given by steps."""
    query = queries.records_by_field(
        SCOPE, over("5m"), field="username", limit=3, levels=("ERROR", "CRITICAL")
    )
    assert query.logql == (
        'topk(3, sum by (username) (count_over_time({environment="prod",'
        'service_name=~"erp-backend-api|erp\\\\.worker",level=~"ERROR|CRITICAL"} '
        '| organization_id="45" | username!="" [5m])))'
    )
    assert query.logsql == (
        '_time:5m {environment="prod",service_name in ("erp-backend-api","erp.worker")} '
        'organization_id:="45" -username:="" level:in("ERROR","CRITICAL") '
        "| stats by (username) count() as value | first 3 by (value desc, username)"
    )


def test_a_field_of_the_line_is_parsed_after_the_cheaper_filters() -> None:
    """Only the fields that are needed, and without the lines that cannot be parsed."""
    query = queries.requests_by_field(
        Scope("dev"), per_step("1m"), field="route", at_least_status=500
    )
    assert query.logql == (
        'topk(10, sum by (route) (count_over_time({environment="dev"} '
        '| event_type="request_finished" | json route="route", status="status" '
        '| route!="" | status >= 500 | __error__="" [1m])))'
    )
    assert query.logsql == (
        '{environment="dev"} event_type:="request_finished" -route:="" status:>=500 '
        "| stats by (route) count() as value | first 10 by (value desc, route)"
    )


def test_grafanas_variables_stay_whole() -> None:
    """As patterns in LogQL and as lists in LogsQL, which is how the data sources fill them in."""
    query = queries.error_ratio(GRAFANA, over("$__range"))
    assert '{environment="$environment",service_name=~"$service"}' in query.logql
    assert '| organization_id=~"$organization_id" [$__range]' in query.logql
    assert query.logsql.startswith(
        '_time:$__range {environment="$environment",service_name in ($service)} '
        "organization_id:in($organization_id) |"
    )


@pytest.mark.parametrize("query", every_query(SCOPE, over("5m")), ids=lambda query: query.name)
def test_every_query_keeps_the_rules(query: Query) -> None:
    """A non-empty equality matcher per selector; no metric fails for a line that is not JSON."""
    selectors = re.findall(r"(?<!\{)\{(?!\{)([^{}]*)\}(?!\})", query.logql)
    assert selectors
    assert all('environment="prod"' in selector for selector in selectors)
    if query.kind == "metric":
        ranges = re.findall(r"over_time\((.*?)\[|rate\((.*?)\[", query.logql)
        pipelines = [first or second for first, second in ranges]
        assert pipelines
        parsing = [text for text in pipelines if "| json " in text or "| unwrap " in text]
        assert all("__error__" in text for text in parsing)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: over("5 minutes"), "expected a duration"),
        (lambda: per_step('5m] or {a="b"'), "expected a duration"),
        (lambda: Scope(""), "expected a name"),
        (lambda: queries.request_duration(SCOPE, over("5m"), quantile=95), "between 0 and 1"),
        (lambda: queries.new_exception_types(SCOPE, per_step("5m")), "expected over"),
        (lambda: queries.records_by_field(SCOPE, over("5m"), field="a b"), "expected a field"),
    ],
)
def test_arguments_that_make_no_query_are_refused(call: object, expected: str) -> None:
    """The error says what is expected; no request is sent."""
    assert callable(call)
    with pytest.raises(QueryError, match=expected):
        call()


def test_text_cannot_leave_its_quotes() -> None:
    """A value with quotes, backslashes or braces is only a value."""
    query = queries.records_of(Scope("dev"), '"} or {a=~".+')
    assert 'request_id="\\"} or {a=~\\".+"' in query.logql
    assert 'request_id:="\\"} or {a=~\\".+"' in query.logsql
