"""What a page of charts consists of, independent of Grafana, of an engine and of the HTML report.

A panel holds functions from an `Ask` to queries: the same panel is asked with Grafana's variables
for the JSON and with real values for checks and the report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from stack.queries.language import Query, Scope, Window

WIDTH = 24  # columns of Grafana's grid
ANY = ".*"

NOT_JSON = "not JSON"  # what has no level

Kind = Literal["timeseries", "stat", "bars", "table", "logs"]
Unit = Literal["short", "percentunit", "ms", "s", "bytes", "reqps", "cps"]


ENGINES: tuple[str, ...] = ("loki", "victorialogs")


class GrafanaError(Exception):
    """Grafana did not do what it was asked; the text says what and how it answered."""


@dataclass(frozen=True)
class Ask:
    """What a panel's queries are asked about.

    `whole` is the time range that is looked at, `step` one step of a chart in it. `recent` is the
    last hours whatever that range is, because the engine keeps no day before the oldest one.
    `request` is a request_id or trace_id.
    """

    scope: Scope
    organization: Scope
    whole: Window
    step: Window
    recent: Window
    exception_type: str
    request: str


@dataclass(frozen=True)
class Target:
    """One query of a panel. `name` is what its only number is called."""

    build: Callable[[Ask], Query]
    name: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel. `filled` means that the sample app's traffic must show in it.

    `levels` colours series by level; `bad_above` colours a number red from there on.
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
    """A variable that people type or that a link sets."""

    name: str
    label: str
    default: str
    description: str


@dataclass(frozen=True)
class Page:
    """One dashboard. `name` is the stable part of its address."""

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
    """Ids by place: a row has its hundred, its panels count up from there."""
    return [
        100 * number + place
        for number, row in enumerate(page.rows, start=1)
        for place, _ in enumerate(row.panels, start=1)
    ]


def chart(
    title: str, description: str, *queries: Callable[[Ask], Query], **options: object
) -> Panel:
    """A chart over time."""
    return _panel(title, description, "timeseries", queries, options)


def number(title: str, description: str, query: Callable[[Ask], Query], **options: object) -> Panel:
    """One number over the whole time range."""
    return _panel(title, description, "stat", (query,), {"width": 4, "height": 4, **options})


def bars(title: str, description: str, query: Callable[[Ask], Query], **options: object) -> Panel:
    """The largest values as bars."""
    return _panel(title, description, "bars", (query,), options)


def table(title: str, description: str, query: Callable[[Ask], Query], **options: object) -> Panel:
    """Values with all of their labels."""
    return _panel(title, description, "table", (query,), options)


def logs(title: str, description: str, query: Callable[[Ask], Query], **options: object) -> Panel:
    """Whole records."""
    return _panel(title, description, "logs", (query,), {"width": WIDTH, "height": 12, **options})


def _panel(
    title: str,
    description: str,
    kind: Kind,
    queries: Sequence[Callable[[Ask], Query]],
    options: dict[str, object],
) -> Panel:
    names = options.pop("names", ("",) * len(queries))
    assert isinstance(names, tuple)  # noqa: S101 -- for the type checker
    targets = tuple(Target(build, name) for build, name in zip(queries, names, strict=True))
    return Panel(title, description, kind, targets, **options)  # type: ignore[arg-type]
