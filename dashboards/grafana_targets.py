"""A query as what Grafana's data source plugins take: Loki's own, and VictoriaLogs' plugin."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import loki
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common

from dashboards.model import Kind
from stack.engines.kinds import KINDS
from stack.queries.language import Query

MAX_LINES = 500


class VictoriaLogsQuery(Builder[Dataquery]):
    """A query of the plugin victoriametrics-logs-datasource, which the SDK does not know."""

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def build(self) -> Dataquery:
        return UnknownDataquery(self._fields)


def data_source(engine: str) -> common.DataSourceRef:
    """The data source that is chosen in the dashboard's variable."""
    return common.DataSourceRef(type_val=KINDS[engine].grafana_type, uid="${datasource}")


def target(query: Query, ref: str, legend: str, kind: Kind, engine: str) -> Builder[Dataquery]:
    """A panel's query: over time for a chart, as of now for numbers, or records."""
    if engine == "loki":
        over_time = kind in ("timeseries", "logs")
        built = (
            loki.Dataquery()
            .ref_id(ref)
            .datasource(data_source(engine))
            .expr(query.logql)
            .query_type("range" if over_time else "instant")
        )
        return built.max_lines(MAX_LINES) if kind == "logs" else built.legend_format(legend)
    fields: dict[str, Any] = {
        "refId": ref,
        "datasource": data_source(engine),
        "editorMode": "code",
        "expr": query.logsql,
        "queryType": _victorialogs_type(kind),
    }
    if kind == "logs":
        return VictoriaLogsQuery(**fields, maxLines=MAX_LINES)
    return VictoriaLogsQuery(**fields, legendFormat=legend)


def target_for_annotation(query: Query, engine: str) -> Builder[Dataquery]:
    """The records that charts are marked with."""
    return target(query, "deployments", "", "logs", engine)


def _victorialogs_type(kind: Kind) -> str:
    return {"timeseries": "statsRange", "logs": "instant"}.get(kind, "stats")
