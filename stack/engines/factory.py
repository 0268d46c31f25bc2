"""Which engine a target runs, as an Engine. Used by the commands and the tests."""

from __future__ import annotations

from stack.engines import Engine
from stack.engines.facts import LOKI_RESTORED_TENANT
from stack.engines.loki import Loki
from stack.engines.victorialogs import VictoriaLogs
from stack.settings.targets import Target


def engine_of(target: Target) -> Engine:
    """The engine that the target's settings choose; nothing is asked of it yet."""
    if target.settings.stack.engine == "loki":
        return Loki(target.url("loki"))
    return VictoriaLogs(target.url("victorialogs"))


def restored_engine_of(target: Target) -> Engine:
    """The engine that `archive restore` fills: another tenant of Loki, another VictoriaLogs."""
    if target.settings.stack.engine == "loki":
        return Loki(target.url("loki"), LOKI_RESTORED_TENANT)
    return VictoriaLogs(target.url("restored"))
