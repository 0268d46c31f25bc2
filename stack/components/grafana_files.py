"""The files that Grafana reads: data sources with fixed uids, dashboards and their folder.

Runtimes write them below their run folder. Pure, except that it reads dashboards/generated/.
"""

from __future__ import annotations

from typing import Any

from stack.components.grafana_links import LINKS, link_url
from stack.engines.kind import EngineKind
from stack.engines.kinds import kind_of
from stack.settings import ROOT
from stack.settings.targets import Target

GENERATED = ROOT / "dashboards" / "generated"
HEAD = "# Rendered from the settings by stack/components/grafana_files.py: change it there.\n"
FOLDER, FOLDER_UID = "Logs", "logstack"
MAX_LINES = 1000  # that Explore requests


def grafana_files(target: Target) -> dict[str, str]:
    """Every file by its path below the run folder."""
    boards = {
        f"grafana/dashboards/{path.name}": path.read_text(encoding="utf-8")
        for path in sorted((GENERATED / kind_of(target.settings).name).glob("*.json"))
    }
    return {
        "grafana/provisioning/datasources/logstack.yaml": _yaml(data_sources(target)),
        "grafana/provisioning/dashboards/logstack.yaml": _yaml(provider(target)),
        **boards,
    }


def provider(target: Target) -> dict[str, Any]:
    """The folder of the dashboards, which can only be changed in their files."""
    values = {
        "name": "logstack",
        "type": "file",
        "folder": FOLDER,
        "folderUid": FOLDER_UID,
        "allowUiUpdates": False,
        "disableDeletion": True,
        "updateIntervalSeconds": 30,
        "options": {"path": _literal(str(target.config_dir("grafana") / "dashboards"))},
    }
    return {"apiVersion": 1, "providers": [values]}


def data_sources(target: Target) -> dict[str, Any]:
    """The engine's records, records restored from the archive, and Alertmanager."""
    kind = kind_of(target.settings)
    sources = [_engine(target, kind, kind.title, kind.name, kind.name, kind.tenant)]
    # A second engine for them runs only in the native runtime; a tenant exists in all.
    is_native = not (target.in_containers or target.on_host)
    if kind.restored_tenant or is_native:
        names = f"{kind.title}, restored", f"{kind.name}-restored"
        sources.append(_engine(target, kind, *names, kind.restored_component, kind.restored_tenant))
    sources[0]["isDefault"] = True
    alertmanager = _source(
        "Alertmanager", "alertmanager", "alertmanager", target.peer("alertmanager")
    )
    alertmanager["jsonData"] = {"implementation": "prometheus", "handleGrafanaManagedAlerts": False}
    return {"apiVersion": 1, "datasources": [*sources, alertmanager]}


def _engine(
    target: Target, kind: EngineKind, name: str, uid: str, component: str, tenant: str
) -> dict[str, Any]:
    source = _source(name, kind.grafana_type, uid, target.peer(component))
    shown = {
        "maxLines": MAX_LINES,
        "timeout": 60,
        "derivedFields": _derived_fields(kind.name),
    }
    if not tenant:
        return {**source, "jsonData": shown}
    return {
        **source,
        "jsonData": {**shown, "httpHeaderName1": "X-Scope-OrgID"},
        "secureJsonData": {"httpHeaderValue1": tenant},
    }


def _derived_fields(engine: str) -> list[dict[str, str]]:
    """Links from values in records to their dashboards."""
    return [
        {
            "name": link.field,
            "matcherType": "label",  # includes Loki's structured metadata
            "matcherRegex": link.field,
            "url": _literal(link_url(link, engine, "__value.raw")),
            "urlDisplayLabel": link.title,
        }
        for link in LINKS
    ]


def _source(name: str, kind: str, uid: str, url: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "uid": uid,
        "access": "proxy",
        "url": url,
        "editable": False,
    }


def _literal(text: str) -> str:
    """Text without environment variables for Grafana to expand."""
    return text.replace("$", "$$")


def _yaml(document: dict[str, Any]) -> str:
    import yaml  # most commands write none

    return HEAD + yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
