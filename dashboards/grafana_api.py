"""Brings the dashboards into a running Grafana through its HTTP API, and asks their panels there.

`logstack dashboards import` is the caller. A dashboard belongs to us when it has our uid and our
tag; one with our uid and without the tag is somebody else's and stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.grafana import OWNER_TAG, as_json
from dashboards.grafana_targets import target
from dashboards.model import Ask, GrafanaError, Panel
from dashboards.pages import PAGES
from dashboards.run import NO_REQUEST, TimeRange, ask_for
from stack.components.grafana_files import FOLDER_UID
from stack.components.grafana_links import uid
from stack.engines.kinds import KINDS
from stack.queries.language import Scope

TIMEOUT = (3.05, 30)
# What Grafana itself adds to a stored dashboard.
GRAFANAS_OWN = ("id", "version", "iteration")

Document = dict[str, Any]


class Grafana:
    """One Grafana's API. Every method raises GrafanaError; the token is in none of its texts."""

    def __init__(self, url: str, token: str):
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str) -> Any | None:
        """The answer's values, or None where there is nothing (404)."""
        answer = self._send("GET", path)
        return None if answer.status_code == requests.codes.not_found else _values(answer)

    def post(self, path: str, values: Document) -> Any:
        answer = self._send("POST", path, values)
        if answer.status_code == requests.codes.not_found:
            raise GrafanaError(f"{self.url}{path}: HTTP 404. Is this Grafana's address?")
        return _values(answer)

    def query(self, queries: list[Document], times: TimeRange) -> Mapping[str, Document]:
        """Results by refId; a failed query has an `error` in place of frames."""
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
            raise GrafanaError(
                f"{url}: wanted Grafana to answer, found: {error}. Is --url right?"
            ) from None
        if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
            raise GrafanaError(
                f"{url}: HTTP {answer.status_code}: wanted a token that may do this. Make one of a "
                "service account with the role Editor, and give it as GRAFANA_TOKEN."
            )
        return answer


def import_all(grafana: Grafana, engine: str, folder: str) -> dict[str, str]:
    """Create or update every dashboard; what became of each, by uid."""
    if grafana.get(f"/api/folders/{FOLDER_UID}") is None:
        grafana.post("/api/folders", {"uid": FOLDER_UID, "title": folder})
    outcomes = {}
    for page in PAGES:
        wanted = as_json(page, engine)
        identifier = uid(page.name, engine)
        found = grafana.get(f"/api/dashboards/uid/{identifier}")
        outcome = decide(found, wanted)
        if outcome in ("created", "updated"):
            body = {
                "dashboard": {**wanted, "id": None},
                "folderUid": FOLDER_UID,
                "overwrite": True,
                "message": "logstack dashboards import",
            }
            grafana.post("/api/dashboards/db", body)
        outcomes[identifier] = outcome
    return outcomes


def decide(found: Document | None, wanted: Document) -> str:
    """What to do about a dashboard, given what Grafana has under its uid."""
    if found is None:
        return "created"
    if OWNER_TAG not in (found["dashboard"].get("tags") or []):
        return f"left alone: a dashboard with this uid has no tag {OWNER_TAG}, so it is not ours"
    if found.get("meta", {}).get("provisioned"):
        return "left alone: Grafana reads it from a file"
    return "unchanged" if _content(found["dashboard"]) == _content(wanted) else "updated"


def check_panels(grafana: Grafana, engine: str, scope: Scope) -> dict[str, str]:
    """Panels whose query fails or is empty over the last hour, with the reason."""
    sources = grafana.get("/api/datasources") or []
    kind = KINDS[engine].grafana_type
    source = next((item["uid"] for item in sources if item["type"] == kind), "")
    if not source:
        return {"every panel": f"there is no data source of the type {kind} in this Grafana"}
    times = TimeRange(datetime.now(UTC), timedelta(hours=1))
    ask = ask_for(scope, times, NO_REQUEST)
    problems = {}
    for page in PAGES:
        for panel in page.panels:
            queries = panel_queries(panel, ask, engine, source, times)
            problem = judge(grafana.query(queries, times))
            if problem:
                problems[f"{page.title}: {panel.title}"] = problem
    return problems


def panel_queries(
    panel: Panel, ask: Ask, engine: str, source: str, times: TimeRange
) -> list[Document]:
    """A panel's queries as the API takes them."""
    found = []
    for number, item in enumerate(panel.targets):
        built = target(item.build(ask), f"Q{number}", item.name, panel.kind, engine).build()
        values: Document = json.loads(json.dumps(built, cls=JSONEncoder))
        values["datasource"] = {"type": KINDS[engine].grafana_type, "uid": source}
        values["intervalMs"] = round(times.step.total_seconds() * 1000)
        values["maxDataPoints"] = round(times.span / times.step)
        if panel.kind == "timeseries":
            values["step"] = f"{round(times.step.total_seconds())}s"
        found.append(values)
    return found


def judge(results: Mapping[str, Document]) -> str:
    """What is wrong with the results of a panel, or nothing."""
    for result in results.values():
        if result.get("error"):
            return f"failed: {result['error']}"
    frames = [frame for result in results.values() for frame in result.get("frames") or []]
    rows = sum(len(values[0]) for values in (frame["data"]["values"] for frame in frames) if values)
    return "" if rows else "empty"


def _content(dashboard: Document) -> Document:
    return {name: value for name, value in dashboard.items() if name not in GRAFANAS_OWN}


def _values(answer: requests.Response) -> Any:
    if not answer.ok:
        raise GrafanaError(_describe(answer))
    try:
        return answer.json()
    except ValueError:
        raise GrafanaError(_describe(answer)) from None


def _describe(answer: requests.Response) -> str:
    return f"{answer.url}: HTTP {answer.status_code}: {answer.text.strip()[:300]}"
