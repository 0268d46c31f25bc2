"""Which engine a target runs, as an Engine. Used by the commands and the tests."""

from __future__ import annotations

from stack.engines import Engine
from stack.engines.loki import Loki
from stack.engines.victorialogs import VictoriaLogs
from stack.targets import Target


def engine_of(target: Target) -> Engine:
    """The engine that the target's settings choose; nothing is asked of it yet."""
    if target.settings.stack.engine == "loki":
        return Loki(target.url("loki"))
    return VictoriaLogs(target.url("victorialogs"))
