"""What differs between Grafana's data sources: Loki's own, and the plugin of VictoriaLogs.

Pages and panels do not depend on an engine: they use `SOURCES[engine]`. A new engine is one more
class here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import loki
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common

from dashboards.model import Kind
from stack.engines.kinds import KINDS
from stack.queries.language import Query

MAX_LINES = 500


class Source(ABC):
    """The data source of one engine."""

    engine: str

    @property
    def reference(self) -> common.DataSourceRef:
        """The data source that is chosen in the dashboard's variable."""
        return common.DataSourceRef(type_val=KINDS[self.engine].grafana_type, uid="${datasource}")

    @abstractmethod
    def target(self, query: Query, ref: str, legend: str, kind: Kind) -> Builder[Dataquery]:
        """A panel's query: over time for a chart, as of now for numbers, or for records."""

    @abstractmethod
    def values_of(self, field: str) -> dict[str, object]:
        """The query of a variable: all values of a field."""

    def annotate(self, annotation: builders.AnnotationQuery, query: Query) -> None:
        """Make the records of a query the marks of an annotation."""
        annotation.datasource(self.reference).target(self.target(query, "deployments", "", "logs"))


class LokiSource(Source):
    """Loki, which Grafana and its SDK know."""

    engine = "loki"

    def target(self, query: Query, ref: str, legend: str, kind: Kind) -> Builder[Dataquery]:
        over_time = kind in ("timeseries", "logs")
        built = (
            loki.Dataquery()
            .ref_id(ref)
            .datasource(self.reference)
            .expr(query.logql)
            .query_type("range" if over_time else "instant")
        )
        return built.max_lines(MAX_LINES) if kind == "logs" else built.legend_format(legend)

    def values_of(self, field: str) -> dict[str, object]:
        return {"refId": "values", "type": 1, "label": field, "stream": ""}

    def annotate(self, annotation: builders.AnnotationQuery, query: Query) -> None:
        super().annotate(annotation, query)
        # Loki's plugin reads the query from here, not from the target.
        annotation.expr(query.logql).title_format("{{service_name}}").tag_keys("environment")


class VictoriaLogsSource(Source):
    """The plugin victoriametrics-logs-datasource, which the SDK does not know."""

    engine = "victorialogs"

    def target(self, query: Query, ref: str, legend: str, kind: Kind) -> Builder[Dataquery]:
        fields: dict[str, Any] = {
            "refId": ref,
            "datasource": self.reference,
            "editorMode": "code",
            "expr": query.logsql,
            "queryType": {"timeseries": "statsRange", "logs": "instant"}.get(kind, "stats"),
        }
        if kind == "logs":
            return PluginQuery(**fields, maxLines=MAX_LINES)
        return PluginQuery(**fields, legendFormat=legend)

    def values_of(self, field: str) -> dict[str, object]:
        kind = {"type": "fieldValue", "field": field, "query": "*", "limit": 1000}
        return {"refId": "values", **kind}


class PluginQuery(Builder[Dataquery]):
    """A query of a plugin that the SDK does not know."""

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def build(self) -> Dataquery:
        return UnknownDataquery(self._fields)


SOURCES: Mapping[str, Source] = {
    source.engine: source for source in (LokiSource(), VictoriaLogsSource())
}
