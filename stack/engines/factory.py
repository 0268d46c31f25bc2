"""Which engine a target runs, as an Engine. Used by the commands and the tests."""

from __future__ import annotations

from stack.engines import Engine, EngineError
from stack.engines.loki import Loki
from stack.engines.victorialogs import VictoriaLogs
from stack.targets import Target


def engine_of(target: Target) -> Engine:
    """The engine that the target's settings choose; nothing is asked of it yet."""
    if target.settings.stack.engine == "loki":
        return Loki(target.url("loki"))
    return VictoriaLogs(target.url("victorialogs"))


def restored_engine_of(target: Target) -> Engine:
    """The engine that `archive restore` fills. Raises EngineError where there is none."""
    if target.settings.stack.engine != "victorialogs":
        raise EngineError(
            "wanted an engine for restored records, found none: archive and restore work with "
            "stack.engine = 'victorialogs' only"
        )
    return VictoriaLogs(target.url("restored"))
