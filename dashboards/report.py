"""Writes the pages as one HTML file that opens without a network, for e-mail and tickets.

Charts are drawn by Plotly in the reader's browser; its code is part of the file. Numbers, tables
and records are plain HTML. Everything that comes from a log is escaped, and the file's
Content-Security-Policy forbids loading anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from dashboards.model import Page, Panel
from dashboards.report_charts import chart_html, format_value
from dashboards.run import Answer, PanelResult, TimeRange, show
from stack.engines import Record
from stack.queries.evaluate import Evaluator
from stack.queries.language import Scope
from stack.records.contract import LEVEL_COLORS
from stack.records.timestamps import to_local

RECORDS_SHOWN = 50


@dataclass(frozen=True)
class Cell:
    """The content of one panel for the template: a chart, number, table, records, or nothing."""

    panel: Panel
    chart: Markup | None = None
    number: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    records: Sequence[dict[str, str]] = ()
    error: str = ""

    @property
    def empty(self) -> bool:
        return not (self.chart or self.number or self.rows or self.records or self.error)


def render(
    evaluator: Evaluator,
    pages: Sequence[Page],
    scope: Scope,
    times: TimeRange,
    on_progress: Callable[[str], None] = lambda page: None,
) -> str:
    """The whole report as HTML."""
    sections = []
    for page in pages:
        on_progress(page.title)
        results = iter(show(evaluator, page, scope, times, limit=RECORDS_SHOWN))
        rows = [(row, [cell_of(next(results), times) for _ in row.panels]) for row in page.rows]
        sections.append((page, rows))
    environment = Environment(
        loader=PackageLoader("dashboards"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        sections=sections,
        level_colors=LEVEL_COLORS,
        environment=scope.environment,
        since=_moment(times.since),
        until=_moment(times.until),
        plotly=Markup(get_plotlyjs()),  # noqa: S704 -- the library's own code
    )


def cell_of(result: PanelResult, times: TimeRange) -> Cell:
    """The cell of a panel and its answers."""
    panel = result.panel
    if result.error:
        return Cell(panel, error=result.error)
    if panel.kind == "logs":
        return Cell(panel, records=_records(panel, result.answers))
    if panel.kind == "stat":
        samples = result.answers[0].samples
        value = samples[0].value if samples else 0.0
        return Cell(panel, number=format_value(value, panel.unit))
    if panel.kind == "table":
        return _table(panel, result.answers[0])
    return Cell(panel, chart=chart_html(result, times) if result.rows else None)


def _table(panel: Panel, answer: Answer) -> Cell:
    ordered = sorted(answer.samples, key=lambda sample: -sample.value)
    rows = [
        [*(sample.labels[name] for name in answer.query.by), format_value(sample.value, panel.unit)]
        for sample in ordered
    ]
    return Cell(panel, columns=(*answer.query.by, answer.name or "value"), rows=rows)


def _records(panel: Panel, answers: Sequence[Answer]) -> list[dict[str, str]]:
    found = [_record(record) for answer in answers for record in answer.records]
    return found if panel.oldest_first else found[::-1]


def _record(record: Record) -> dict[str, str]:
    level = str(record.get("level", ""))
    head, _, rest = str(record["message"]).partition("\n")
    return {
        "time": to_local(str(record.get("timestamp", ""))),
        "level": level if level in LEVEL_COLORS else "text",
        "service": str(record.get("service_name", "")),
        "logger": str(record.get("logger_name", "")),
        "request": str(record.get("request_id", "")),
        "message": head,
        "rest": rest,
    }


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M %Z}"
