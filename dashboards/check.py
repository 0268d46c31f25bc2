"""Asks a running engine every panel's query and says which are empty, failing or slow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from dashboards.model import Page
from dashboards.run import Shown, TimeRange, show
from stack.queries.evaluate import Evaluator
from stack.queries.language import Scope

SLOW_SECONDS = 5.0
SPANS = {"1h": timedelta(hours=1), "30d": timedelta(days=30)}


@dataclass(frozen=True)
class Finding:
    """How one panel fared over one time range. `problem` is empty when all is well."""

    span: str
    page: str
    panel: str
    rows: int
    milliseconds: int
    problem: str
    note: str = ""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def check(
    evaluator: Evaluator, pages: Sequence[Page], scope: Scope, now: datetime
) -> Iterator[Finding]:
    """Every panel of the pages over the last hour and over thirty days."""
    for span, length in SPANS.items():
        for page in pages:
            for shown in show(evaluator, page, scope, TimeRange(now, length)):
                yield judge(shown, span)


def judge(shown: Shown, span: str) -> Finding:
    """Whether a panel shows what it has to, in time."""
    slowest = max(answer.seconds for answer in shown.answers)
    problem = note = ""
    if shown.error:
        problem = shown.error
    elif slowest > SLOW_SECONDS:
        problem = f"a query took {slowest:.1f} s, wanted {SLOW_SECONDS:g} s at most"
    elif not shown.rows and shown.panel.filled:
        problem = "empty, and the sample app's traffic must fill it"
    elif not shown.rows:
        note = "empty, which may be"
    return Finding(
        span=span,
        page=shown.page.name,
        panel=shown.panel.title,
        rows=shown.rows,
        milliseconds=round(1000 * sum(answer.seconds for answer in shown.answers)),
        problem=problem,
        note=note,
    )
