"""What an engine on a host says of itself, asked on that host's loopback. verify.py judges it."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import yaml

from provisioning import DeployError, refuse_as_deploy
from provisioning.fleet import Remote
from stack.components import LOKI_TENANT
from stack.engines.loki_archive import parse_period
from stack.settings import Settings

refuse_as_deploy(__name__)

LOOK_BACK = "10m"


def find_record(remote: Remote, settings: Settings, mark: str) -> dict[str, str] | None:
    """The newest record with a request id, its fields as text; None while there is none."""
    if settings.stack.engine == "loki":
        query = f'{{service_name=~".+"}} | request_id=`{mark}`'
        asked = {"query": query, "since": LOOK_BACK, "limit": "1"}
        answer = _fetch(remote, settings, "loki", f"/loki/api/v1/query_range?{urlencode(asked)}")
        streams = json.loads(answer["text"])["data"]["result"] if answer["ok"] else []
        for stream in streams:
            line: dict[str, str] = json.loads(stream["values"][0][1])
            return {**line, **stream["stream"]}
        return None
    asked = {"query": f'_time:{LOOK_BACK} request_id:="{mark}"'}
    path = f"/select/logsql/query?{urlencode(asked)}"
    answer = _fetch(remote, settings, "victorialogs", path)
    rows = answer["text"].splitlines() if answer["ok"] else []
    return dict(json.loads(rows[0])) if rows else None


def retention(remote: Remote, settings: Settings) -> timedelta:
    """How long the running engine keeps records. Raises DeployError."""
    if settings.stack.engine == "loki":
        config = yaml.safe_load(_text(remote, settings, "loki", "/config"))
        if config["compactor"]["retention_enabled"] is not True:
            raise DeployError("wanted the engine to let old records go, found its retention off")
        return parse_period(str(config["limits_config"]["retention_period"]))
    text = _text(remote, settings, "victorialogs", "/flags")
    found = re.search(r'^-retentionPeriod="(\d+)d"$', text, re.MULTILINE)
    if not found:
        raise DeployError(f"wanted the engine's retention, found {text[:200]}")
    return timedelta(days=int(found[1]))


def loaded_rules(remote: Remote, settings: Settings) -> list[dict[str, Any]]:
    """The alert rules that the engine's ruler or vmalert has loaded. Raises DeployError."""
    loki = settings.stack.engine == "loki"
    name, path = ("loki", "/prometheus/api/v1/rules") if loki else ("vmalert", "/api/v1/rules")
    groups = json.loads(_text(remote, settings, name, path))["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _text(remote: Remote, settings: Settings, component: str, path: str) -> str:
    answer = _fetch(remote, settings, component, path)
    if not answer["ok"]:
        raise DeployError(f"wanted an answer of {component}, found: {answer['text']}")
    return str(answer["text"])


def _fetch(remote: Remote, settings: Settings, component: str, path: str) -> dict[str, Any]:
    headers = {"X-Scope-OrgID": LOKI_TENANT} if component == "loki" else {}
    url = f"http://127.0.0.1:{settings.ports.effective(component)}{path}"
    return remote.ask("fetch", url=url, headers=headers)
