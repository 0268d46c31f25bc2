"""The log engines, one object each, and which of them the settings choose.

No other code compares the engine's name: runtimes, hosts, rules and dashboards get the object from
`kind_of` and use its attributes. A new engine is a module beside this one with a `KIND`, its
component, its values in settings.toml, its name in `StackSettings.engine`, and an archive adapter
if it is to be archived.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

from stack import engines
from stack.engines.kind import EngineKind
from stack.settings import Settings


def _discover() -> Iterator[EngineKind]:
    for module in pkgutil.iter_modules(engines.__path__):
        if module.name not in (Path(__file__).stem, "factory"):
            kind = getattr(import_module(f"{engines.__name__}.{module.name}"), "KIND", None)
            if kind:
                yield kind


KINDS: Mapping[str, EngineKind] = {kind.name: kind for kind in _discover()}


def kind_of(settings: Settings) -> EngineKind:
    """The engine that the settings choose."""
    return KINDS[settings.stack.engine]
