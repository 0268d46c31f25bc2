"""The report's charts, drawn by Plotly, and values in their units."""

from __future__ import annotations

import html
from datetime import datetime
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from dashboards.model import NOT_JSON, STATUS_COLORS, Panel, Unit
from dashboards.run import Answer, PanelResult, TimeRange
from stack.records.contract import LEVEL_COLORS
from stack.settings.units import format_bytes

COLORS = {
    **{name: color.chart for name, color in {**LEVEL_COLORS, **STATUS_COLORS}.items()},
    NOT_JSON: "#808080",
}
BAR_COLOR = LEVEL_COLORS["DEBUG"].chart
ROW_PIXELS = 38  # height of a row in Grafana's grid
LABEL_LENGTH = 48


def chart_html(result: PanelResult, times: TimeRange) -> Markup:
    """The panel's chart as a fragment of HTML; the page must contain Plotly's code."""
    figure = _over_time(result, times) if result.panel.kind == "timeseries" else _bars(result)
    # Labels that turn when they have no room change the margin, which gives them room again.
    figure.update_xaxes(tickangle=0)
    figure.update_layout(
        height=result.panel.height * ROW_PIXELS - 40,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        template="plotly_white",
        font={"size": 12},
    )
    fragment: str = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        config={"displayModeBar": False, "responsive": True},
    )
    return Markup(fragment)  # noqa: S704 -- names are escaped below, data by Plotly


def _over_time(result: PanelResult, times: TimeRange) -> go.Figure:
    panel = result.panel
    figure = go.Figure()
    for answer in result.answers:
        for item in answer.series:
            name = _name(answer, item.labels, panel)
            moments: list[datetime] = [moment.astimezone() for moment in sorted(item.points)]
            values = [item.points[moment] for moment in sorted(item.points)]
            color = COLORS.get(name)
            common: dict[str, Any] = {"x": moments, "y": values, "name": html.escape(name)}
            if panel.stacked:
                figure.add_trace(go.Bar(**common, marker={"color": color}))
            else:
                # As a line only, a single point would be invisible.
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


def _bars(result: PanelResult) -> go.Figure:
    panel, answer = result.panel, result.answers[0]
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
    """A value for readers: `12.50%`, `340 ms`, `1.2 MiB`."""
    if unit == "percentunit":
        return f"{value:.2%}"
    if unit == "bytes":
        return format_bytes(value)
    suffix = {"ms": " ms", "s": " s", "reqps": " req/s", "cps": "/s"}.get(unit, "")
    return f"{value:,.0f}{suffix}" if value == int(value) else f"{value:,.4g}{suffix}"
