"""`logstack alerts test`, and that a wrong expectation fails."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from stack import artifacts, settings
from stack.alerting import past
from stack.alerting.cases import Case, CaseText, Records, load_cases
from stack.alerting.expressions import expression, narrowed
from stack.alerting.rule_tests import (
    environment_of,
    evaluation_time,
    records_of,
    rules_of,
    run_with_victorialogs,
)
from stack.alerting.rules import Rule, load_rule_file
from stack.alerting.throwaway import flush, throwaway_loki, throwaway_victorialogs
from stack.common import quote
from stack.engines.kinds import KINDS
from stack.engines.loki import Loki
from stack.engines.victorialogs import VictoriaLogs
from stack.queries.evaluate import Evaluator, LokiEvaluator, VictoriaLogsEvaluator
from stack.queries.language import Scope, over
from stack.queries.where import count_where
from stack.settings import ROOT
from tests.support.native_stack import logstack_argv, poll
from tests.support.require import unavailable

pytestmark = pytest.mark.native


def test_every_case_passes(binaries: None) -> None:
    """With VictoriaLogs, and with Loki where it is on PATH."""
    result = subprocess.run(
        logstack_argv("alerts", "test", "--json"),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=ROOT,
    )
    assert result.returncode == 0, f"{result.stdout}{result.stderr}"
    found = json.loads(result.stdout)
    assert found["missing"] == {}
    engines = {case["engine"] for case in found["cases"]}
    there = artifacts.is_available("loki", settings.load({}))
    assert engines == {"victorialogs", *(["loki"] if there else [])}
    assert len(found["cases"]) == len(load_cases()) * len(engines)


def test_a_wrong_expectation_fails(binaries: None) -> None:
    """An alert that does not come, and one that nobody expects."""
    cases = [
        case
        for case in load_cases()
        if case.rule == "ErrorRatioHigh" and case.text.kind in ("firing", "boundary")
    ]
    turned = [
        replace(
            case,
            text=case.text.model_copy(
                update={"kind": "firing", "alerts": ({"service_name": "billing"},)}
            ),
        )
        for case in cases
    ]
    outcomes = run_with_victorialogs(settings.load({}), turned)
    problems = {item.case.text.about: item.problem for item in outcomes}
    assert (
        "expected service_name=billing, got service_name=erp-backend-api"
        in (problems["10 of 100 records are errors, and only of one service"])
    )
    assert (
        "expected service_name=billing, got no alert"
        in (problems["exactly 5 of 100 records are errors"])
    )


def test_the_quoted_records_are_those_that_count(binaries: None) -> None:
    """As many as the number of a rule that counts, and some for every rule that quotes any."""
    cases = [case for case in load_cases() if case.text.kind == "firing"]
    at = evaluation_time()
    with throwaway_victorialogs(settings.load({})) as engine:
        engine.push(records_of(cases, at))
        flush(engine)
        evaluator = VictoriaLogsEvaluator(engine.url)
        for number, (case, rule) in enumerate(zip(cases, rules_of(cases), strict=True)):
            query = rule.query(environment_of(number))
            fires = replace(query, logsql=expression(rule, environment_of(number), "logsql"))
            for sample in evaluator.instant(fires, at):
                quoted = behind(rule, environment_of(number), sample.labels)
                total = f"_time:{rule.window} {quoted} | stats count() as value"
                [found] = evaluator.instant(replace(query, logsql=total, by=()), at)
                if rule.text.query in ("count_where", "first_seen"):
                    assert found.value == sample.value, case.name
                assert found.value or not rule.text.samples, case.name


@contextmanager
def throwaway(engine: str) -> Iterator[tuple[VictoriaLogs | Loki, Evaluator]]:
    """An empty engine, and what evaluates queries of it."""
    values = settings.load({})
    if engine == "loki":
        with throwaway_loki(values) as loki:
            yield loki, LokiEvaluator(loki.url)
    else:
        with throwaway_victorialogs(values) as victorialogs:
            yield victorialogs, VictoriaLogsEvaluator(victorialogs.url)


@pytest.mark.parametrize("engine", ["victorialogs", pytest.param("loki", marks=pytest.mark.loki)])
def test_a_rule_of_ones_own_is_tried_on_the_past(
    binaries: None, tmp_path: Path, engine: str
) -> None:
    """Each time that it would have fired, once, with its labels and its highest number."""
    if not artifacts.is_available(engine, settings.load({})):
        unavailable(engine, f"{engine} is not on PATH")
    file = tmp_path / "mine.yaml"
    file.write_text(OWN_RULE, encoding="utf-8")
    [rule] = load_rule_file(file, settings.load({}))
    at = evaluation_time()
    logged = [
        Records(count=4, ago="3h", fields={"level": "ERROR", "message": "could not connect: 5"}),
        Records(count=9, ago="3h2m", fields={"level": "ERROR", "message": "could not connect: 5"}),
        Records(count=4, ago="26h", fields={"level": "CRITICAL", "message": "could not connect"}),
        Records(count=3, ago="28h", fields={"level": "ERROR", "message": "could not connect"}),
        Records(count=9, ago="30h", fields={"level": "INFO", "message": "could not connect"}),
        Records(count=9, ago="32h", fields={"level": "ERROR", "message": "connected"}),
    ]
    case = Case("Own", "", CaseText(kind="firing", about="the past", records=tuple(logged)))
    with throwaway(engine) as (running, evaluator):
        running.push(case.records("prod", at))
        if isinstance(running, VictoriaLogs):
            flush(running)
        found = past.firings(
            evaluator,
            rule,
            "prod",
            (at - timedelta(days=2), at),
            timedelta(seconds=30),
            lambda text: None,
        )
    assert [item.highest for item in found] == [4, 13]
    assert [dict(item.labels) for item in found] == [{"service_name": "erp-backend-api"}] * 2
    for item, hours in zip(found, (26, 3), strict=True):
        assert abs(item.began - (at - timedelta(hours=hours))) <= timedelta(minutes=5)
        assert item.ended - item.began <= timedelta(minutes=7)


@pytest.mark.loki
def test_a_line_of_text_is_a_message_in_loki(binaries: None) -> None:
    """A rule about messages counts it like the message of a JSON line, and no other line."""
    if not artifacts.is_available("loki", settings.load({})):
        unavailable("loki", "loki is not on PATH")
    at = evaluation_time()
    nanoseconds = int(at.timestamp() - 60) * 10**9
    lines = (
        'could not connect: "db"\nnext line',
        json.dumps({"message": 'could not connect: "db"\nnext line'}),
        json.dumps({"message": "connected", "other": "could not connect"}),
        "connected",
    )
    labels = {"environment": "prod", "service_name": "billing", "level": "ERROR"}
    values = [[str(nanoseconds + number), text] for number, text in enumerate(lines)]
    where = {"message": '~"connect: .db.\nnext"', "level": "ERROR"}
    query = count_where(Scope("prod"), over("5m"), where=where)
    with throwaway_loki(settings.load({})) as engine:
        answer = requests.post(
            f"{engine.url}/loki/api/v1/push",
            json={"streams": [{"stream": labels, "values": values}]},
            headers={"X-Scope-OrgID": KINDS["loki"].tenant},
            timeout=10,
        )
        assert answer.ok, answer.text
        evaluator = LokiEvaluator(engine.url)
        [sample] = poll(lambda: evaluator.instant(query, at), "a number")
    assert (dict(sample.labels), sample.value) == ({"service_name": "billing"}, 2)


OWN_RULE = """
rules:
  - name: CannotConnect
    where: {level: [ERROR, CRITICAL], message: ~"could not connect"}
    window: 5m
    above: 3
    for: 0s
    severity: page
    summary: Cannot connect
    description: To its database.
    dashboard: errors
    runbook: CannotConnect
"""


def behind(rule: Rule, environment: str, labels: Mapping[str, str]) -> str:
    """LogsQL for the records behind an alert with these labels."""
    by = rule.query(environment).by
    text = narrowed(rule.lines(environment), [name for name in by if name != "environment"]).logsql
    for name, value in labels.items():
        text = text.replace(quote(f"label({name})"), quote(value))
    return text


def test_an_unknown_rule_is_named() -> None:
    """With those that there are."""
    result = subprocess.run(
        logstack_argv("alerts", "test", "--rule", "Nothing"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("rule: expected one of ArchiveFailed, ")
