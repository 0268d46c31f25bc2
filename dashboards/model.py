"""What a page of charts consists of, independent of Grafana, of an engine and of the HTML report.

A panel holds functions from a `QueryContext` to queries: Grafana's JSON is rendered with variables
in the context, checks and the report run with real values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from stack.queries.language import Query, Scope, Window
from stack.records.contract import LEVEL_COLORS

WIDTH = 24  # columns of Grafana's grid
ANY = ".*"  # the pattern of every value

NOT_JSON = "not JSON"  # the name of records without a level
# Status classes have the colours of the levels that are as bad.
STATUS_COLORS = {
    "2xx": LEVEL_COLORS["INFO"],
    "3xx": LEVEL_COLORS["DEBUG"],
    "4xx": LEVEL_COLORS["WARNING"],
    "5xx": LEVEL_COLORS["ERROR"],
}

Kind = Literal["timeseries", "stat", "bars", "table", "logs"]
Unit = Literal["short", "percentunit", "ms", "s", "bytes", "reqps", "cps"]


class GrafanaError(Exception):
    """A request to Grafana failed; the text names the address and the answer."""


@dataclass(frozen=True)
class QueryContext:
    """The arguments of a panel's queries.

    `whole` is the chosen time range, `step` one step of a chart in it. `recent` is the last six
    hours, whatever the chosen range: new exception types are compared with the day before, which
    the engine must still have. `request` is a request_id or trace_id.
    """

    scope: Scope
    organization: Scope
    whole: Window
    step: Window
    recent: Window
    exception_type: str
    request: str


BuildQuery = Callable[[QueryContext], Query]


@dataclass(frozen=True)
class Target:
    """One query of a panel. `name` is the legend of its only series."""

    build: BuildQuery
    name: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel, `width` columns wide (of WIDTH) and `height` grid rows high.

    `levels` colours series by level. A number of `bad_above` or more is red. `filled`: the sample
    app's traffic must give it data; `logstack dashboards check` fails otherwise.
    """

    title: str
    description: str
    kind: Kind
    targets: tuple[Target, ...]
    unit: Unit = "short"
    width: int = 12
    height: int = 8
    stacked: bool = False
    levels: bool = False
    oldest_first: bool = False
    bad_above: float | None = None
    filled: bool = True


@dataclass(frozen=True)
class Row:
    """A heading and the panels below it, which fill lines of WIDTH columns."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class TextBox:
    """A variable that users type or a link sets."""

    name: str
    label: str
    default: str
    description: str


@dataclass(frozen=True)
class Page:
    """One dashboard. `name` is part of its uid and never changes."""

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]
    text_boxes: tuple[TextBox, ...] = ()
    refresh: str = "1m"

    @property
    def panels(self) -> list[Panel]:
        return [panel for row in self.rows for panel in row.panels]


def panel_ids(page: Page) -> list[int]:
    """Panel ids in order: the first row has 100, its panels 101, 102 and so on."""
    return [
        100 * number + place
        for number, row in enumerate(page.rows, start=1)
        for place, _ in enumerate(row.panels, start=1)
    ]


def chart(title: str, description: str, *queries: BuildQuery, **options: object) -> Panel:
    """A chart over time."""
    return _panel(title, description, "timeseries", queries, options)


def number(title: str, description: str, query: BuildQuery, **options: object) -> Panel:
    """One number over the whole time range."""
    return _panel(title, description, "stat", (query,), {"width": 4, "height": 4, **options})


def bars(title: str, description: str, query: BuildQuery, **options: object) -> Panel:
    """The largest values as bars."""
    return _panel(title, description, "bars", (query,), options)


def table(title: str, description: str, query: BuildQuery, **options: object) -> Panel:
    """Values with all their labels."""
    return _panel(title, description, "table", (query,), options)


def logs(title: str, description: str, query: BuildQuery, **options: object) -> Panel:
    """Log records."""
    return _panel(title, description, "logs", (query,), {"width": WIDTH, "height": 12, **options})


def _panel(
    title: str,
    description: str,
    kind: Kind,
    queries: Sequence[BuildQuery],
    options: dict[str, object],
) -> Panel:
    names = options.pop("names", ("",) * len(queries))
    assert isinstance(names, tuple)  # noqa: S101 -- for the type checker
    targets = tuple(Target(build, name) for build, name in zip(queries, names, strict=True))
    return Panel(title, description, kind, targets, **options)  # type: ignore[arg-type]
