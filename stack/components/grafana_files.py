"""What Grafana reads at its start: data sources with fixed uids, the dashboards and their folder.

The runtimes write these files below their run folder. Pure, but for reading dashboards/generated/.
"""

from __future__ import annotations

from typing import Any

import yaml

from stack.components.catalogue import selected
from stack.components.grafana_links import LINKS, link_url
from stack.engines.facts import LOKI_RESTORED_TENANT, LOKI_TENANT
from stack.engines.kinds import KINDS
from stack.settings import ROOT
from stack.settings.targets import Target

GENERATED = ROOT / "dashboards" / "generated"
HEAD = "# Rendered from the settings by stack/components/grafana_files.py: change it there.\n"
FOLDER, FOLDER_UID = "Logs", "logstack"
MAX_LINES = 1000  # that Explore asks for


def grafana_files(target: Target, names: set[str] | None = None) -> dict[str, str]:
    """Every file by its path below the run folder; none where Grafana is not wanted.

    `names` are the components there; without them those that the settings ask for.
    """
    if names is None:
        chosen = selected(target.settings, in_containers=target.in_containers)
        names = {component.name for component in chosen}
    if "grafana" not in names:
        return {}
    engine: str = "loki" if target.settings.stack.engine == "loki" else "victorialogs"
    boards = {
        f"grafana/dashboards/{path.name}": path.read_text(encoding="utf-8")
        for path in sorted((GENERATED / engine).glob("*.json"))
    }
    return {
        "grafana/provisioning/datasources/logstack.yaml": _yaml(
            data_sources(target, engine, names)
        ),
        "grafana/provisioning/dashboards/logstack.yaml": _yaml(provider(target)),
        **boards,
    }


def provider(target: Target) -> dict[str, Any]:
    """Where the dashboards are; the files alone change them."""
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


def data_sources(target: Target, engine: str, names: set[str]) -> dict[str, Any]:
    """The engine's records, those that the archive brought back, and Alertmanager."""
    sources = [
        _loki(target, "Loki", "loki", LOKI_TENANT),
        _loki(target, "Loki, restored", "loki-restored", LOKI_RESTORED_TENANT),
    ]
    if engine == "victorialogs":
        sources = [_victorialogs(target, "VictoriaLogs", engine, engine)]
        if "restored" in names:
            sources.append(
                _victorialogs(target, "VictoriaLogs, restored", f"{engine}-restored", "restored")
            )
    sources[0]["isDefault"] = True
    alertmanager = _source(
        "Alertmanager", "alertmanager", "alertmanager", target.peer("alertmanager")
    )
    alertmanager["jsonData"] = {"implementation": "prometheus", "handleGrafanaManagedAlerts": False}
    return {"apiVersion": 1, "datasources": [*sources, alertmanager]}


def _loki(target: Target, name: str, uid: str, tenant: str) -> dict[str, Any]:
    return {
        **_source(name, KINDS["loki"].grafana_type, uid, target.peer("loki")),
        "jsonData": {
            "maxLines": MAX_LINES,
            "timeout": 60,
            "derivedFields": _derived_fields("loki"),
            "httpHeaderName1": "X-Scope-OrgID",
        },
        "secureJsonData": {"httpHeaderValue1": tenant},
    }


def _victorialogs(target: Target, name: str, uid: str, component: str) -> dict[str, Any]:
    return {
        **_source(name, KINDS["victorialogs"].grafana_type, uid, target.peer(component)),
        "jsonData": {
            "maxLines": MAX_LINES,
            "timeout": 60,
            "derivedFields": _derived_fields("victorialogs"),
        },
    }


def _derived_fields(engine: str) -> list[dict[str, str]]:
    """A click on one of these values of a record leads to its dashboard."""
    return [
        {
            "name": link.field,
            "matcherType": "label",  # where Grafana has Loki's structured metadata
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
    """Text in which Grafana replaces no environment variable."""
    return text.replace("$", "$$")


def _yaml(document: dict[str, Any]) -> str:
    return HEAD + yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
