"""Makes the Engine that a target runs, for commands and tests."""

from __future__ import annotations

from stack.engines import Engine
from stack.engines.kinds import kind_of
from stack.settings.targets import Target


def engine_of(target: Target) -> Engine:
    """The engine that the target's settings choose; sends no request."""
    kind = kind_of(target.settings)
    return kind.connect(target.url(kind.name), kind.tenant, target.access)


def restored_engine_of(target: Target) -> Engine:
    """The engine that `archive restore` fills: another tenant of Loki, another VictoriaLogs."""
    kind = kind_of(target.settings)
    return kind.connect(target.url(kind.restored_component), kind.restored_tenant, target.access)
