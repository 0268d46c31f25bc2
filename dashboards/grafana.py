"""Renders a page as a Grafana dashboard: classic JSON for import by hand and for provisioning.

`build(page, engine)` is pure. The same file works both ways, because the data source is a variable
with a fixed uid and an import has nothing to fill in.
"""

from __future__ import annotations

import json
from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from dashboards.grafana_panels import build_panel
from dashboards.grafana_sources import SOURCES
from dashboards.model import ANY, Page, QueryContext, TextBox, panel_ids
from stack.components.grafana_links import uid
from stack.engines.kinds import KINDS
from stack.queries import catalogue as queries
from stack.queries.language import Scope, over, per_step

OWNER_TAG = "logstack"

# The variables that Grafana replaces in each query.
GRAFANA_CONTEXT = QueryContext(
    scope=Scope("$environment", ("$service",)),
    organization=Scope("$environment", ("$service",), "$organization_id"),
    whole=over("$__range"),
    step=per_step("$__interval"),  # $__auto means the same, but only in newer releases
    recent=over("6h"),
    exception_type="$exception_type",
    request="$request_id",
)


def build(page: Page, engine: str) -> models.Dashboard:
    """The dashboard in the SDK's model."""
    dashboard = (
        builders.Dashboard(f"Logs / {page.title} ({KINDS[engine].title})")
        .uid(uid(page.name, engine))
        .description(page.description)
        .tags([OWNER_TAG, _engine_tag(engine)])
        .readonly()
        .timezone("browser")
        .time("now-1h", "now")
        .refresh(page.refresh)
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .annotation(_deployments(engine))
        .link(_other_pages(engine))
    )
    for variable in _variables(page, engine):
        dashboard.with_variable(variable)
    ids = iter(panel_ids(page))
    for number, row in enumerate(page.rows, start=1):
        dashboard.with_row(builders.Row(row.title).id(100 * number))
        for panel in row.panels:
            dashboard.with_panel(build_panel(panel, next(ids), engine, GRAFANA_CONTEXT))
    return dashboard.build()


def encode(dashboard: models.Dashboard) -> str:
    """The dashboard as the text of a file, with sorted keys for readable diffs."""
    return JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(dashboard) + "\n"


def as_json(page: Page, engine: str) -> dict[str, Any]:
    """The dashboard as plain values."""
    document: dict[str, Any] = json.loads(encode(build(page, engine)))
    return document


def _variables(page: Page, engine: str) -> list[Any]:
    source = SOURCES[engine]
    data_source = (
        builders.DatasourceVariable("datasource")
        .label("Data source")
        .type(KINDS[engine].grafana_type)
        .current(_option(KINDS[engine].title, engine))
    )
    environment = (
        builders.QueryVariable("environment")
        .label("Environment")
        .description("Deployment environment of the records.")
        .datasource(source.reference)
        .query(source.values_of("environment"))
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    service = (
        builders.QueryVariable("service")
        .label("Service")
        .description("Services whose records are shown.")
        .datasource(source.reference)
        .query(source.values_of("service_name"))
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(ANY)
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )
    return [data_source, environment, service, *map(_text_box, page.text_boxes)]


def _text_box(box: TextBox) -> builders.TextBoxVariable:
    return (
        builders.TextBoxVariable(box.name)
        .label(box.label)
        .description(box.description)
        .default_value(box.default)
        .current(_option(box.default, box.default))
    )


def _option(text: str, value: str) -> models.VariableOption:
    return models.VariableOption(selected=True, text=text, value=value)


def _deployments(engine: str) -> builders.AnnotationQuery:
    annotation = (
        builders.AnnotationQuery().name("Deployments").enable(True).hide(False).icon_color("blue")
    )
    SOURCES[engine].annotate(annotation, queries.deployments(GRAFANA_CONTEXT.scope))
    return annotation


def _other_pages(engine: str) -> builders.DashboardLink:
    return (
        builders.DashboardLink("Logs")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([_engine_tag(engine)])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )


def _engine_tag(engine: str) -> str:
    return f"logs-{engine}"
