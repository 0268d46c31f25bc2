"""`logstack dashboards check` on an engine with records, and on an empty one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dashboards.check import SLOW_SECONDS, check, finding_for
from dashboards.model import Target, number
from dashboards.pages import OVERVIEW, PAGES
from dashboards.run import Answer, PanelResult, TimeRange, context_for, show
from stack.queries import catalogue as queries
from stack.queries.evaluate import Sample, VictoriaLogsEvaluator
from stack.queries.language import Query, Scope
from tests.dashboards.conftest import SCOPE
from tests.support.query_sample import SampleRecords

PANEL = number(
    "Records", "Records.", lambda context: queries.record_count(context.scope, context.whole)
)
QUERY = Query("x", "x", "x")
MOMENT = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.native
def test_every_panel_shows_something(
    evaluator: VictoriaLogsEvaluator, recent: SampleRecords
) -> None:
    """On an engine with records of every kind, over an hour and over 30 days."""
    findings = list(check(evaluator, PAGES, SCOPE, recent.at))
    assert len(findings) == 2 * sum(len(page.panels) for page in PAGES)
    assert not [finding for finding in findings if finding.problem or not finding.rows]


@pytest.mark.native
def test_an_empty_engine_is_reported(
    evaluator: VictoriaLogsEvaluator, recent: SampleRecords
) -> None:
    """As a problem for each panel that traffic must fill, as a note for the others."""
    findings = list(check(evaluator, PAGES, Scope("empty"), recent.at))
    expected = {(page.name, panel.title): panel.filled for page in PAGES for panel in page.panels}
    assert {(item.page, item.panel): bool(item.problem) for item in findings} == expected
    assert all("no data" in (item.problem or item.note) for item in findings)


@pytest.mark.native
def test_a_query_that_fails_is_a_finding(
    evaluator: VictoriaLogsEvaluator, recent: SampleRecords
) -> None:
    """With the engine's message, and the next panels are still queried."""
    broken = replace(PANEL, targets=(Target(lambda context: Query("x", "{", "| nonsense")),))
    row = replace(OVERVIEW.rows[0], panels=(broken, PANEL))
    page = replace(OVERVIEW, rows=(row,))
    first, second = show(evaluator, page, SCOPE, TimeRange(recent.at, timedelta(hours=1)))
    assert "nonsense" in finding_for(first, "1h").problem
    assert finding_for(second, "1h").problem == ""


def test_an_error_comes_before_slowness_and_no_data() -> None:
    """A count of 0 is no data."""
    full = Answer(QUERY, samples=[Sample({}, 3.0)])
    nothing = Answer(QUERY, samples=[Sample({}, 0.0)])
    slow = replace(full, seconds=SLOW_SECONDS + 0.1)
    optional = replace(PANEL, filled=False)

    def problem(answer: Answer, panel: object = PANEL) -> str:
        return finding_for(PanelResult(OVERVIEW, panel, [answer]), "1h").problem  # type: ignore[arg-type]

    assert problem(full) == ""
    assert "expected some" in problem(nothing)
    assert problem(nothing, optional) == ""
    assert "got 5.1 s" in problem(slow)
    assert problem(replace(slow, error="HTTP 400")) == "HTTP 400"


@pytest.mark.parametrize(
    ("hours", "step"), [(0.25, 15), (1, 30), (2, 60), (24, 1800), (720, 21600), (90000, 86400)]
)
def test_steps_suit_the_time_range(hours: float, step: int) -> None:
    """A chart has about a hundred steps of a round length."""
    times = TimeRange(MOMENT, timedelta(hours=hours))
    assert times.step == timedelta(seconds=step)
    assert context_for(SCOPE, times, "-").step.length == f"{step}s"
