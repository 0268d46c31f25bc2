"""Runs the queries of a page's panels on an engine, for checks and for the report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dashboards.model import Page, Panel, QueryContext
from stack.engines import EngineError, Record
from stack.queries import catalogue as queries
from stack.queries.evaluate import Evaluator, Sample, Series
from stack.queries.language import Query, Scope, over, per_step

STEPS_SHOWN = 120
STEPS = tuple(
    timedelta(seconds=seconds)
    for seconds in (15, 30, 60, 120, 300, 600, 1800, 3600, 10800, 21600, 43200, 86400)
)
NO_REQUEST = "-"


@dataclass(frozen=True)
class TimeRange:
    """The `span` before `until`, in steps of `step`."""

    until: datetime
    span: timedelta

    @property
    def since(self) -> datetime:
        return self.until - self.span

    @property
    def step(self) -> timedelta:
        """The shortest of STEPS that divides the span into at most STEPS_SHOWN steps."""
        return next((step for step in STEPS if self.span <= step * STEPS_SHOWN), STEPS[-1])


@dataclass
class Answer:
    """The answer to one query of a panel: one of the three lists, or an error."""

    query: Query
    name: str = ""
    samples: list[Sample] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    error: str = ""
    seconds: float = 0.0

    @property
    def rows(self) -> int:
        """The number of values or records; a count that is 0 does not count as one."""
        points = sum(len(item.points) for item in self.series)
        is_zero = not self.query.by and len(self.samples) == 1 and self.samples[0].value == 0
        return points + len(self.records) + (0 if is_zero else len(self.samples))


@dataclass(frozen=True)
class PanelResult:
    """A panel and the answers to its queries."""

    page: Page
    panel: Panel
    answers: Sequence[Answer]

    @property
    def rows(self) -> int:
        return sum(answer.rows for answer in self.answers)

    @property
    def error(self) -> str:
        return next((answer.error for answer in self.answers if answer.error), "")


def context_for(scope: Scope, times: TimeRange, request: str) -> QueryContext:
    """The values in place of Grafana's variables: the whole scope, in this time range."""
    return QueryContext(
        scope=scope,
        organization=scope,
        whole=over(_seconds(times.span)),
        step=per_step(_seconds(times.step)),
        recent=over("6h"),
        exception_type="",
        request=request,
    )


def show(
    evaluator: Evaluator, page: Page, scope: Scope, times: TimeRange, *, limit: int = 100
) -> Iterator[PanelResult]:
    """Query every panel of a page, one after the other; a failure is part of the answer."""
    context = context_for(scope, times, find_request(evaluator, scope, times))
    for panel in page.panels:
        answers = []
        for target in panel.targets:
            answer = Answer(target.build(context), target.name)
            _fill(answer, evaluator, panel, times, limit)
            answers.append(answer)
        yield PanelResult(page, panel, answers)


def find_request(evaluator: Evaluator, scope: Scope, times: TimeRange) -> str:
    """The newest failed request, as example for the page `request`, or NO_REQUEST."""
    query = queries.exception_records(scope)
    try:
        found = evaluator.records(query, times.since, times.until, limit=20)
    except EngineError:
        return NO_REQUEST
    ids = [str(record["request_id"]) for record in found if "request_id" in record]
    return ids[-1] if ids else NO_REQUEST


def _fill(answer: Answer, evaluator: Evaluator, panel: Panel, times: TimeRange, limit: int) -> None:
    started = time.perf_counter()
    try:
        if panel.kind == "timeseries":
            answer.series = evaluator.over_time(answer.query, times.since, times.until, times.step)
        elif panel.kind == "logs":
            answer.records = evaluator.records(answer.query, times.since, times.until, limit=limit)
        else:
            answer.samples = evaluator.instant(answer.query, times.until)
    except EngineError as error:
        answer.error = str(error)
    answer.seconds = time.perf_counter() - started


def _seconds(span: timedelta) -> str:
    return f"{round(span.total_seconds())}s"
