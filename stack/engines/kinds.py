"""What differs between log engines, one object each: paths, tenants, dialect, reports.

No other code compares the engine's name: runtimes, hosts, rules and dashboards get the object from
`kind_of` and use its attributes. A new engine is one more `EngineKind` here, a client beside this
file, a component and an archive adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from stack.engines import Engine, loki, victorialogs
from stack.engines.facts import (
    LOKI_RESTORED_TENANT,
    LOKI_TENANT,
    VL_DATA_SOURCE,
    VL_IGNORED_FIELDS,
    VL_STREAM_FIELDS,
)
from stack.settings import Settings

Dialect = Literal["logql", "logsql"]
Fetch = Callable[[str], str]
"""Gets the engine's answer at a path, over HTTP from here or on the engine's host."""


@dataclass(frozen=True)
class EngineKind:
    """One log engine. `name` is that of its component, of its port and in settings.stack.engine.

    `ingestion` is the path where the collector sends records, `reading` the paths that users may
    read through a gateway. `rules` is the path of Prometheus' rules API at `evaluator`, the
    component that evaluates the rules; `reports_expressions` means that it reports expressions
    unchanged. Restored records go to `restored_component` with `restored_tenant`. `is_cluster`: all
    log servers share one set of records. `grafana_type` is the type of the data source in Grafana,
    `grafana_plugin` the plugin that it needs. The engine takes records up to `ahead` of its clock.
    A gateway sets `write_headers`, in Caddy's syntax, on every batch.
    """

    name: str
    title: str
    dialect: Dialect
    connect: Callable[[str, str], Engine]
    ingestion: str
    reading: tuple[str, ...]
    retention: Callable[[Fetch], timedelta]
    find: Callable[[Fetch, str, str], dict[str, str] | None]
    evaluator: str
    restored_component: str
    grafana_type: str
    grafana_plugin: str = ""
    tenant: str = ""
    restored_tenant: str = ""
    rules: str = "/api/v1/rules"
    rules_file: str = "rules/logstack.yaml"
    reports_expressions: bool = True
    is_cluster: bool = False
    cluster_ports: tuple[str, ...] = ()
    takes_any_age: bool = False
    ahead: timedelta = timedelta(days=1)
    write_headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every request."""
        return {"X-Scope-OrgID": self.tenant} if self.tenant else {}


KINDS: Mapping[str, EngineKind] = {
    kind.name: kind
    for kind in (
        EngineKind(
            name="victorialogs",
            title="VictoriaLogs",
            dialect="logsql",
            connect=lambda url, tenant: victorialogs.VictoriaLogs(url),
            ingestion="/insert/opentelemetry/v1/logs",
            reading=("/select/*",),
            retention=victorialogs.read_retention,
            find=victorialogs.find_record,
            evaluator="vmalert",
            ahead=timedelta(days=2),
            write_headers={
                "VL-Stream-Fields": ",".join(VL_STREAM_FIELDS),
                # Replaces the host in the batch: a host can only write as itself.
                "VL-Extra-Fields": "host={http.auth.user.id}",
                "VL-Ignore-Fields": ",".join(VL_IGNORED_FIELDS),
            },
            restored_component="restored",
            grafana_type=VL_DATA_SOURCE,
            grafana_plugin=VL_DATA_SOURCE,
        ),
        EngineKind(
            name="loki",
            title="Loki",
            dialect="logql",
            connect=loki.Loki,
            ingestion="/otlp/v1/logs",
            reading=(
                *("/loki/api/v1/query", "/loki/api/v1/query_range", "/loki/api/v1/labels"),
                *("/loki/api/v1/label/*", "/loki/api/v1/series", "/loki/api/v1/tail"),
                *("/loki/api/v1/index/*", "/loki/api/v1/patterns", "/loki/api/v1/detected_*"),
            ),
            retention=loki.read_retention,
            find=loki.find_record,
            evaluator="loki",
            restored_component="loki",
            grafana_type="loki",
            tenant=LOKI_TENANT,
            restored_tenant=LOKI_RESTORED_TENANT,
            rules="/prometheus/api/v1/rules",
            rules_file=f"rules/{LOKI_TENANT}/logstack.yaml",
            reports_expressions=False,
            is_cluster=True,
            cluster_ports=("loki_memberlist", "loki_grpc"),
            takes_any_age=True,
        ),
    )
}
# Components that evaluate the rules of an engine.
EVALUATORS = {kind.evaluator for kind in KINDS.values()}


def kind_of(settings: Settings) -> EngineKind:
    """The engine that the settings choose."""
    return KINDS[settings.stack.engine]
