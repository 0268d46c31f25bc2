"""What differs between log engines: paths, tenants, dialect, reports.

Each engine's module beside this one has its client and its `KIND`; kinds.py finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from stack.engines import Engine, Record
from stack.engines.otlp import OtlpRecord
from stack.settings.targets import Access

Dialect = Literal["logql", "logsql"]
Fetch = Callable[[str], str]
"""Gets the engine's answer at a path, over HTTP from here or on the engine's host."""


@dataclass(frozen=True)
class EngineKind:
    """One log engine. `name` is that of its component, of its port and in settings.stack.engine.

    `connect` makes the client from a URL, a tenant and, through a gateway, a reader's access.
    `ingestion` has the path where each agent sends records, `reading` the paths that users may
    read through a gateway. `rules` is the path of Prometheus' rules API at `evaluator`, the
    component that evaluates the rules; `reports_expressions` means that it reports expressions
    unchanged. Restored records go to `restored_component` with `restored_tenant`. `is_cluster`: all
    log servers share one set of records. `grafana_type` is the type of the data source in Grafana,
    `grafana_plugin` the plugin that it needs. The engine takes records up to `ahead` of its clock.
    A gateway sets `write_headers`, in Caddy's syntax, on every batch, or compares the host in each
    batch of an agent, in the format of `own_host`. `from_otlp` makes of a record of the collector
    what the engine returns of it. A request to `flush` makes what has arrived visible to queries;
    empty: it is at once. `services` is the path and the query that give the services of an
    ENVIRONMENT that logged as applications do within a WINDOW: text only if it names its logger, as
    that of other programs in a host's journal does not.
    """

    name: str
    title: str
    dialect: Dialect
    connect: Callable[[str, str, Access | None], Engine]
    ingestion: Mapping[str, str]
    reading: tuple[str, ...]
    retention: Callable[[Fetch], timedelta]
    find: Callable[[Fetch, str, str], dict[str, str] | None]
    from_otlp: Callable[[OtlpRecord], Record]
    evaluator: str
    services: tuple[str, str]
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
    flush: str = ""
    ahead: timedelta = timedelta(days=1)
    write_headers: Mapping[str, str] = field(default_factory=dict)
    own_host: Mapping[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every request."""
        return {"X-Scope-OrgID": self.tenant} if self.tenant else {}
