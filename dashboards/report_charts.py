"""Charts of the report, by Plotly, and values in their units."""

from __future__ import annotations

import html
from datetime import datetime
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from dashboards.model import NOT_JSON, Panel, Unit
from dashboards.run import Answer, Shown, TimeRange
from stack.settings.units import format_bytes

COLORS = {
    "DEBUG": "#3274d9",
    "INFO": "#56a64b",
    "WARNING": "#e0b400",
    "ERROR": "#e02f44",
    "CRITICAL": "#8f3bb8",
    NOT_JSON: "#808080",
    "2xx": "#56a64b",
    "3xx": "#3274d9",
    "4xx": "#e0b400",
    "5xx": "#e02f44",
}
BAR_COLOR = "#3274d9"
ROW_PIXELS = 38  # a row of Grafana's grid
LABEL_LENGTH = 48


def chart_html(shown: Shown, times: TimeRange) -> Markup:
    """The panel's chart as a fragment of HTML that needs Plotly's code beside it."""
    figure = _over_time(shown, times) if shown.panel.kind == "timeseries" else _bars(shown)
    figure.update_layout(
        height=shown.panel.height * ROW_PIXELS - 40,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        template="plotly_white",
        font={"size": 12},
    )
    fragment: str = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        config={"displayModeBar": False, "responsive": True},
    )
    return Markup(fragment)  # noqa: S704 -- names in it are escaped below, data by Plotly


def _over_time(shown: Shown, times: TimeRange) -> go.Figure:
    panel = shown.panel
    figure = go.Figure()
    for answer in shown.answers:
        for item in answer.series:
            name = _name(answer, item.labels, panel)
            moments: list[datetime] = [moment.astimezone() for moment in sorted(item.points)]
            values = [item.points[moment] for moment in sorted(item.points)]
            color = COLORS.get(name)
            common: dict[str, Any] = {"x": moments, "y": values, "name": html.escape(name)}
            if panel.stacked:
                figure.add_trace(go.Bar(**common, marker={"color": color}))
            else:
                # A single point would be a line without length.
                figure.add_trace(go.Scatter(**common, mode="lines+markers", line={"color": color}))
    figure.update_layout(
        barmode="stack",
        showlegend=True,
        legend={"orientation": "h", "y": -0.15},
        hovermode="x unified",
        xaxis={"range": [times.since.astimezone(), times.until.astimezone()]},
        yaxis={"rangemode": "tozero", **_axis(panel.unit)},
    )
    return figure


def _bars(shown: Shown) -> go.Figure:
    panel, answer = shown.panel, shown.answers[0]
    ordered = sorted(answer.samples, key=lambda sample: sample.value)
    figure = go.Figure(
        go.Bar(
            x=[sample.value for sample in ordered],
            y=[html.escape(_name(answer, sample.labels, panel)) for sample in ordered],
            text=[format_value(sample.value, panel.unit) for sample in ordered],
            orientation="h",
            marker={"color": BAR_COLOR},
        )
    )
    figure.update_layout(
        yaxis={"type": "category", "automargin": True},
        xaxis={"rangemode": "tozero", **_axis(panel.unit)},
    )
    return figure


def _name(answer: Answer, labels: Any, panel: Panel) -> str:
    text = " ".join(labels[name] for name in answer.query.by).strip()
    if not text:
        text = answer.name or (NOT_JSON if panel.levels else "" if answer.query.by else panel.title)
    return text[:LABEL_LENGTH] or "(none)"


def _axis(unit: Unit) -> dict[str, Any]:
    return {"percentunit": {"tickformat": ".1%"}, "bytes": {"tickformat": "~s"}}.get(
        unit, {"ticksuffix": {"ms": " ms", "s": " s"}.get(unit, "")}
    )


def format_value(value: float, unit: Unit) -> str:
    """A value as people read it: `12.5 %`, `340 ms`, `1.2 MiB`."""
    if unit == "percentunit":
        return f"{value:.2%}"
    if unit == "bytes":
        return format_bytes(value)
    suffix = {"ms": " ms", "s": " s", "reqps": " req/s", "cps": "/s"}.get(unit, "")
    return f"{value:,.0f}{suffix}" if value == int(value) else f"{value:,.4g}{suffix}"
