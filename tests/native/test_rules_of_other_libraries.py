"""Alert rules and `logs` take errors that other libraries wrote as they take those of the library.

The lines are those of the corpus (tests/corpus): each library has a file and a service of its own.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stack.alerting.expressions import expression
from stack.alerting.rule_tests import as_query
from stack.alerting.rules import load_rules
from stack.components.monitor import plan_of
from stack.engines import Selection
from stack.monitor import services
from stack.queries.catalogue import ERROR_LEVELS
from stack.queries.evaluate import evaluator_of
from stack.settings import variable_name
from tests.corpus.cases import Case, load
from tests.support.native_stack import DEFAULT, LOKI, Combination, StackUnderTest, on, poll

pytestmark = [pytest.mark.native, on(DEFAULT, LOKI)]

# As many lines of each kind as ErrorRatioHigh needs at least.
COPIES = 60


def is_error(case: Case) -> bool:
    """Whether one line of a file becomes one error."""
    return (
        (case.read, len(case.records), case.time) == ("file", 1, ())
        and case.lines.count("\n") == 0
        and not any(
            part in case.lines for part in ("{pause}", "{repeat", "{end}", "{now -", "{now +")
        )
        and case.records[0].get("level") in ERROR_LEVELS
    )


def names_its_service(case: Case) -> bool:
    return "service_name" in case.records[0]


CASES = [case for case in load() if is_error(case) and not names_its_service(case)]


class Written:
    """The running stack, and which services have errors, and which of them are watched."""

    def __init__(self, stack: StackUnderTest, folder: Path):
        self.stack, self.began = stack, datetime.now(UTC)
        of_service: dict[str, list[Case]] = defaultdict(list)
        for case in CASES:
            of_service[case.file].append(case)
        self.services = set(of_service)
        self.watched = {
            case.file
            for case in CASES
            if case.lines.startswith("{") or case.records[0].get("logger_name")
        }
        self.lines = 0
        for service, cases in of_service.items():
            # Of equal lines of one time, Loki keeps one.
            times = [time.time_ns() - number * 10**9 for number in range(COPIES)]
            parts = [part for now in times for case in cases for part in case.written(now)]
            (folder / f"{service}.log").write_bytes(b"".join(parts))
            self.lines += len(parts)

    def alerts_at(self, name: str, at: datetime) -> set[str]:
        """The services for which the rule's expression is true."""
        values = self.stack.settings
        [rule] = [rule for rule in load_rules(values) if rule.name == name]
        evaluator = evaluator_of(self.stack.target)
        text = expression(rule, values.stack.environment, evaluator.dialect)
        query = as_query(rule.query(values.stack.environment), text, evaluator.dialect)
        return {sample.labels["service_name"] for sample in evaluator.instant(query, at)}


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory, combination: Combination, binaries: None
) -> Iterator[Written]:
    folder = tmp_path_factory.mktemp("libraries")
    tables = (
        f'{{service = "{name}", path = "{folder}/{name}.log"}}'
        for name in sorted({case.file for case in CASES})
    )
    variables = {variable_name("agent", "files"): f"[{', '.join(tables)}]"}
    stack = StackUnderTest(folder / "stack", {**combination.variables, **variables})
    stack.folder.mkdir()
    try:
        stack.up()
        lines = Written(stack, folder)
        selection = Selection(
            since=lines.began - timedelta(hours=1),
            until=lines.began + timedelta(hours=1),
            level="ERROR",
        )
        poll(
            lambda: stack.engine.count(selection) >= lines.lines,
            lambda: f"{lines.lines} errors, got {stack.engine.count(selection)}",
        )
        yield lines
    finally:
        stack.run("down")


def test_errors_of_every_library_are_counted_as_errors(written: Written) -> None:
    """ErrorRatioHigh is true for each service."""
    assert written.services - written.alerts_at("ErrorRatioHigh", datetime.now(UTC)) == set()


def test_a_service_that_stops_logging_is_watched_whatever_library_it_uses(
    written: Written,
) -> None:
    """As the monitor asks: JSON, and text that names its logger; nobody logs a quarter later."""
    plan = plan_of(written.stack.target).services
    assert plan is not None
    assert services.logged(plan, 3600) & written.services == written.watched
    later = time.time() + 900
    assert services.logged(plan, plan.silent_s, later) & written.services == set()
    assert services.logged(plan, 3600, later) & written.services == written.watched


def test_errors_of_every_library_are_printed_by_their_level(written: Written) -> None:
    """`logs --level ERROR` knows each of the services."""
    for service in written.services:
        done = written.stack.run("logs", "--service", service, "--level", "ERROR", "-n", "1")
        assert done.stdout.strip(), service
