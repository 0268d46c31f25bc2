"""Renders a panel of the model as a Grafana panel, with the links of its values."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import bargauge, logs, stat, table, timeseries
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

from dashboards.grafana_sources import SOURCES
from dashboards.model import NOT_JSON, STATUS_COLORS, Panel, QueryContext
from stack.components.grafana_links import LINKS, Link, link_url
from stack.records.contract import LEVEL_COLORS

REFS = "ABCDEFGH"
# The heading of a table's column of numbers.
VALUE_NAMES = {"ms": "Duration", "s": "Age", "bytes": "Size"}
VALUE = "Value"
# The top of the axis of an empty chart, or of one with smaller values.
SOFT_MAX = {"percentunit": 0.05}


def build_panel(
    panel: Panel, panel_id: int, engine: str, context: QueryContext
) -> Builder[models.Panel]:
    """The panel with its queries. Grafana's SDK sets positions, line by line."""
    source = SOURCES[engine]
    built: Any = BUILDERS[panel.kind](panel)
    built.id(panel_id).title(panel.title)
    built.datasource(source.reference).span(panel.width).height(panel.height)
    fields: list[str] = []
    for ref, item in zip(REFS, panel.targets, strict=False):
        query = item.build(context)
        fields += [name for name in query.by if name not in fields]
        legend = item.name or " ".join(f"{{{{{name}}}}}" for name in query.by) or panel.title
        built.with_target(source.target(query, ref, legend, panel.kind))
    if panel.kind in ("bars", "table"):
        _one_row_per_value(built, fields)
    links = [] if panel.kind == "logs" else [link for link in LINKS if link.field in fields]
    hint = f" Click a value of {links[0].field} to open its page." if links else ""
    built.description(panel.description + hint)
    if panel.kind == "table":
        for link in links:
            shown = {"title": link.title, "url": link_url(link, engine, "__value.text")}
            built.override_by_name(link.field, [models.DynamicConfigValue("links", [shown])])
    elif panel.kind == "bars":
        cells = " ".join(f"${{__cell_{place}}}" for place in range(len(fields)))
        names = cells or panel.title
        # Without the first, Grafana hides the name of a single bar; without the second, it shows
        # the column's name.
        built.display_name(names)
        _numbers(built, unit=panel.unit, displayName=names)
        built.data_links(_links(links, engine, "__data.fields"))
    elif panel.kind == "timeseries":
        built.data_links(_links(links, engine, "__field.labels"))
    return built  # type: ignore[no-any-return]


def _links(links: list[Link], engine: str, where: str) -> list[builders.DashboardLink]:
    return [
        builders.DashboardLink(link.title).url(link_url(link, engine, f"{where}.{link.field}"))
        for link in links
    ]


def _timeseries(panel: Panel) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .unit(panel.unit)
        .min(0)
        .axis_soft_max(SOFT_MAX.get(panel.unit, 1))
        .line_width(1)
        .fill_opacity(60 if panel.stacked else 10)
        .draw_style(common.GraphDrawStyle.BARS if panel.stacked else common.GraphDrawStyle.LINE)
        .show_points(common.VisibilityMode.AUTO)
        .legend(
            common_builders.VizLegendOptions()
            .show_legend(True)
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
        )
        .tooltip(
            common_builders.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
    )
    if panel.stacked:
        built.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    for name, color in (LEVEL_COLORS if panel.levels else STATUS_COLORS).items():
        built.override_by_name(name, [_fixed_color(color.grafana)])
    if panel.levels:  # Grafana shows the query where a series has no name
        names = "|".join(LEVEL_COLORS)
        built.override_by_regexp(
            f"/^(?!({names})$)/",
            [models.DynamicConfigValue("displayName", NOT_JSON), _fixed_color("text")],
        )
    return built


def _stat(panel: Panel) -> stat.Panel:
    return (
        stat.Panel()
        .unit(panel.unit)
        .no_value("no data")  # where the query has no answer: one that counts nothing gives 0
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .thresholds(_thresholds(panel))
        .reduce_options(_last_value())
    )


def _bars(panel: Panel) -> bargauge.Panel:
    return (
        bargauge.Panel()
        .min(0)
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.FIXED).fixed_color("blue"))
        .reduce_options(common_builders.ReduceDataOptions().values(True))
    )


def _table(panel: Panel) -> table.Panel:
    built = table.Panel().show_header(True).filterable(True)
    _numbers(built, unit=panel.unit, displayName=VALUE_NAMES.get(panel.unit, "Count"))
    return built


def _numbers(built: Any, **properties: str) -> None:
    """Set properties of numbers only: a unit for all fields would show the status 200 as 200 ms."""
    values = [models.DynamicConfigValue(name, value) for name, value in properties.items()]
    built.override_by_field_type("number", values)


def _one_row_per_value(built: Any, labels: list[str]) -> None:
    """Turn the numbers of one query into a table, largest first, with labels as first columns.

    Plugins return one labelled frame per number, or one table with the column `Value #A`.
    """
    transformations: tuple[tuple[str, dict[str, Any]], ...] = (
        ("labelsToFields", {"mode": "columns"}),
        ("merge", {}),
        (
            "organize",
            {
                "excludeByName": {"Time": True},
                "indexByName": {name: place for place, name in enumerate(labels)},
                "renameByName": {f"{VALUE} #{REFS[0]}": VALUE},
            },
        ),
        ("sortBy", {"sort": [{"field": VALUE, "desc": True}]}),
    )
    for identifier, options in transformations:
        built.with_transformation(models.DataTransformerConfig(identifier, options=options))


def _logs(panel: Panel) -> logs.Panel:
    order = (
        common.LogsSortOrder.ASCENDING if panel.oldest_first else common.LogsSortOrder.DESCENDING
    )
    return (
        logs.Panel()
        .show_time(True)
        .show_labels(False)
        .show_common_labels(False)
        .wrap_log_message(True)
        .prettify_log_message(False)
        .enable_log_details(True)
        .dedup_strategy(common.LogsDedupStrategy.NONE)
        .sort_order(order)
    )


def _thresholds(panel: Panel) -> builders.ThresholdsConfig:
    steps = [models.Threshold(value=None, color="text")]
    if panel.bad_above is not None:
        steps = [
            models.Threshold(value=None, color="green"),
            models.Threshold(value=panel.bad_above, color="red"),
        ]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _last_value() -> common_builders.ReduceDataOptions:
    return common_builders.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _fixed_color(color: str) -> models.DynamicConfigValue:
    return models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})


BUILDERS = {
    "timeseries": _timeseries,
    "stat": _stat,
    "bars": _bars,
    "table": _table,
    "logs": _logs,
}
