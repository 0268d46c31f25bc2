"""Imports the dashboards into a running Grafana over its HTTP API, and runs their queries there.

The caller is `logstack dashboards import`. Only a dashboard with our uid and our tag is ours; one
with our uid and without the tag is left unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.grafana import OWNER_TAG, as_json
from dashboards.grafana_sources import SOURCES
from dashboards.model import GrafanaError, Panel, QueryContext
from dashboards.pages import PAGES
from dashboards.run import NO_REQUEST, TimeRange, context_for
from stack.components.grafana_files import FOLDER_UID
from stack.components.grafana_links import uid
from stack.engines.kinds import KINDS
from stack.queries.language import Scope

TIMEOUT = (3.05, 30)
# Fields that Grafana adds to a stored dashboard.
ADDED_BY_GRAFANA = ("id", "version", "iteration")

Document = dict[str, Any]


class Grafana:
    """A client of one Grafana. Its methods raise GrafanaError, whose text never has the token."""

    def __init__(self, url: str, token: str):
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str) -> Any | None:
        """The decoded answer, or None for 404."""
        answer = self._send("GET", path)
        return None if answer.status_code == requests.codes.not_found else _values(answer)

    def post(self, path: str, values: Document) -> Any:
        answer = self._send("POST", path, values)
        if answer.status_code == requests.codes.not_found:
            raise GrafanaError(f"cannot write to {self.url}{path}: HTTP 404. Check --url")
        return _values(answer)

    def query(self, queries: list[Document], times: TimeRange) -> Mapping[str, Document]:
        """Results by refId; a failed query has `error` instead of frames."""
        body = {
            "queries": queries,
            "from": str(round(times.since.timestamp() * 1000)),
            "to": str(round(times.until.timestamp() * 1000)),
        }
        answer = self._send("POST", "/api/ds/query", body)
        try:
            results: Mapping[str, Document] = answer.json()["results"]
        except (ValueError, KeyError, TypeError):
            raise GrafanaError(_describe(answer)) from None
        return results

    def _send(self, method: str, path: str, values: Document | None = None) -> requests.Response:
        url = f"{self.url}{path}"
        data = None if values is None else json.dumps(values, cls=JSONEncoder)
        headers = {"Content-Type": "application/json"}
        try:
            answer = self._session.request(
                method, url, data=data, headers=headers, timeout=TIMEOUT, allow_redirects=False
            )
        except requests.RequestException as error:
            raise GrafanaError(f"cannot reach Grafana at {url}: {error}. Check --url") from None
        if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
            raise GrafanaError(
                f"cannot use {url}: HTTP {answer.status_code}, the token is invalid or lacks "
                "permission. Set GRAFANA_TOKEN to a token of a service account with the role Editor"
            )
        return answer


def import_all(grafana: Grafana, engine: str, folder: str) -> dict[str, str]:
    """Create or update every dashboard. Returns the outcome of each, by uid."""
    if grafana.get(f"/api/folders/{FOLDER_UID}") is None:
        grafana.post("/api/folders", {"uid": FOLDER_UID, "title": folder})
    outcomes = {}
    for page in PAGES:
        ours = as_json(page, engine)
        identifier = uid(page.name, engine)
        found = grafana.get(f"/api/dashboards/uid/{identifier}")
        outcome = decide(found, ours)
        if outcome in ("created", "updated"):
            body = {
                "dashboard": {**ours, "id": None},
                "folderUid": FOLDER_UID,
                "overwrite": True,
                "message": "logstack dashboards import",
            }
            grafana.post("/api/dashboards/db", body)
        outcomes[identifier] = outcome
    return outcomes


def decide(found: Document | None, ours: Document) -> str:
    """The outcome for a dashboard, given what Grafana has under its uid."""
    if found is None:
        return "created"
    if OWNER_TAG not in (found["dashboard"].get("tags") or []):
        return f"left alone: the dashboard with this uid is not ours (no tag {OWNER_TAG})"
    if found.get("meta", {}).get("provisioned"):
        return "left alone: it is provisioned from a file"
    return "unchanged" if _content(found["dashboard"]) == _content(ours) else "updated"


def check_panels(grafana: Grafana, engine: str, scope: Scope) -> dict[str, str]:
    """Panels whose query fails or has no data in the last hour, with the reason."""
    sources = grafana.get("/api/datasources") or []
    kind = KINDS[engine].grafana_type
    source = next((item["uid"] for item in sources if item["type"] == kind), "")
    if not source:
        return {"every panel": f"this Grafana has no data source of type {kind}"}
    times = TimeRange(datetime.now(UTC), timedelta(hours=1))
    context = context_for(scope, times, NO_REQUEST)
    problems = {}
    for page in PAGES:
        for panel in page.panels:
            queries = panel_queries(panel, context, engine, source, times)
            problem = judge(grafana.query(queries, times))
            if problem:
                problems[f"{page.title}: {panel.title}"] = problem
    return problems


def panel_queries(
    panel: Panel, context: QueryContext, engine: str, source: str, times: TimeRange
) -> list[Document]:
    """A panel's queries in the form of the API."""
    found = []
    for number, item in enumerate(panel.targets):
        built = (
            SOURCES[engine].target(item.build(context), f"Q{number}", item.name, panel.kind).build()
        )
        values: Document = json.loads(json.dumps(built, cls=JSONEncoder))
        values["datasource"] = {"type": KINDS[engine].grafana_type, "uid": source}
        values["intervalMs"] = round(times.step.total_seconds() * 1000)
        values["maxDataPoints"] = round(times.span / times.step)
        if panel.kind == "timeseries":
            values["step"] = f"{round(times.step.total_seconds())}s"
        found.append(values)
    return found


def judge(results: Mapping[str, Document]) -> str:
    """The problem with the results of a panel, or an empty text."""
    for result in results.values():
        if result.get("error"):
            return f"failed: {result['error']}"
    frames = [frame for result in results.values() for frame in result.get("frames") or []]
    rows = sum(len(values[0]) for values in (frame["data"]["values"] for frame in frames) if values)
    return "" if rows else "no data"


def _content(dashboard: Document) -> Document:
    return {name: value for name, value in dashboard.items() if name not in ADDED_BY_GRAFANA}


def _values(answer: requests.Response) -> Any:
    if not answer.ok:
        raise GrafanaError(_describe(answer))
    try:
        return answer.json()
    except ValueError:
        raise GrafanaError(_describe(answer)) from None


def _describe(answer: requests.Response) -> str:
    return f"{answer.url}: HTTP {answer.status_code}: {answer.text.strip()[:300]}"
