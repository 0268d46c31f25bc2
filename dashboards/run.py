"""Asks an engine for what the panels of a page show: for checks and for the report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dashboards.model import Ask, Page, Panel
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
    """What is looked at: `span` before `until`, in steps of `step`."""

    until: datetime
    span: timedelta

    @property
    def since(self) -> datetime:
        return self.until - self.span

    @property
    def step(self) -> timedelta:
        """The shortest of STEPS that gives no more than STEPS_SHOWN of them."""
        return next((step for step in STEPS if self.span <= step * STEPS_SHOWN), STEPS[-1])


@dataclass
class Answer:
    """What one query of a panel gave; one of the three lists, or an error."""

    query: Query
    name: str = ""
    samples: list[Sample] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    error: str = ""
    seconds: float = 0.0

    @property
    def rows(self) -> int:
        """How many numbers or records there are; a count of 0 is none."""
        points = sum(len(item.points) for item in self.series)
        alone = not self.query.by and len(self.samples) == 1 and self.samples[0].value == 0
        return points + len(self.records) + (0 if alone else len(self.samples))


@dataclass(frozen=True)
class Shown:
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


def ask_for(scope: Scope, times: TimeRange, request: str) -> Ask:
    """What Grafana's variables would say: everything in the scope, in this time range."""
    return Ask(
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
) -> Iterator[Shown]:
    """Every panel of a page, asked one after the other; a failure is part of the answer."""
    ask = ask_for(scope, times, find_request(evaluator, scope, times))
    for panel in page.panels:
        answers = []
        for target in panel.targets:
            answer = Answer(target.build(ask), target.name)
            _fill(answer, evaluator, panel, times, limit)
            answers.append(answer)
        yield Shown(page, panel, answers)


def find_request(evaluator: Evaluator, scope: Scope, times: TimeRange) -> str:
    """The newest request that failed, as an example for the page about one request."""
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
