"""Plans of the shipped environments, and what is looked up in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stack import settings
from stack.hosts import secrets
from stack.hosts.plan import HostPlan, plan_for
from stack.settings import Layer, Settings
from tests.support.example import PORTS

LOKI = {"stack": {"engine": "loki"}, "loki_storage": {"bucket": "shelf"}}


def values_of(environment: str, **sections: Mapping[str, Any]) -> Settings:
    shipped = settings.read_layers({"LOGSTACK_ENV": environment}, for_hosts=True)
    return settings.validate([*shipped, Layer("ports", {"ports": PORTS}), Layer("test", sections)])


def plans(folder: Path, environment: str, **sections: Mapping[str, Any]) -> dict[str, HostPlan]:
    values = values_of(environment, **sections)
    path = folder / "secrets.json"
    secrets.init(path, values, {})
    known = {**secrets.read(path, values, {}), secrets.LOKI_STORAGE: "key-1:secret-1"}
    return {name: plan_for(values, known, name) for name in values.hosts}


def names(plan: HostPlan) -> list[str]:
    return [component.name for component in plan.components]


def text_of(plan: HostPlan, path: str) -> str:
    files = [f for c in plan.components for f in (*c.files, c.unit)] + list(plan.files)
    return next(file.text for file in files if file.path == path)
