"""Runs every panel's query on an engine and reports which are empty, failing or slow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dashboards.model import Page
from dashboards.run import PanelResult, TimeRange, show
from stack.queries.evaluate import Evaluator
from stack.queries.language import Scope

SLOW_SECONDS = 5.0
SPANS = {"1h": timedelta(hours=1), "30d": timedelta(days=30)}


@dataclass(frozen=True)
class PanelFinding:
    """The result of one panel over one time range. `problem` is empty if there is none."""

    span: str
    page: str
    panel: str
    rows: int
    milliseconds: int
    problem: str
    note: str = ""


def check(
    evaluator: Evaluator, pages: Sequence[Page], scope: Scope, now: datetime
) -> Iterator[PanelFinding]:
    """Check every panel of the pages over the last hour and over 30 days."""
    for span, length in SPANS.items():
        for page in pages:
            for result in show(evaluator, page, scope, TimeRange(now, length)):
                yield finding_for(result, span)


def finding_for(result: PanelResult, span: str) -> PanelFinding:
    """The finding for a panel: an error, a slow query, or no data."""
    slowest = max(answer.seconds for answer in result.answers)
    problem = note = ""
    if result.error:
        problem = result.error
    elif slowest > SLOW_SECONDS:
        problem = f"expected a query to take at most {SLOW_SECONDS:g} s, got {slowest:.1f} s"
    elif not result.rows and result.panel.filled:
        problem = "no data, expected some from the sample app's traffic"
    elif not result.rows:
        note = "no data (allowed)"
    return PanelFinding(
        span=span,
        page=result.page.name,
        panel=result.panel.title,
        rows=result.rows,
        milliseconds=round(1000 * sum(answer.seconds for answer in result.answers)),
        problem=problem,
        note=note,
    )
