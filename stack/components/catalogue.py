"""Every component, in the order in which they start, and which of them the settings ask for.

A module of this folder that defines COMPONENTS adds to the catalogue; nothing lists them again.
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

from stack.components import catalogue as components
from stack.components.component import Artifact, Component
from stack.settings import Settings
from stack.settings.targets import Target


def _found() -> Iterator[Component]:
    for module in pkgutil.iter_modules(components.__path__):
        if module.name != Path(__file__).stem:
            found = import_module(f"{components.__name__}.{module.name}")
            yield from getattr(found, "COMPONENTS", ())


CATALOGUE: tuple[Component, ...] = tuple(sorted(_found(), key=lambda component: component.order))


def selected(settings: Settings, *, in_containers: bool = False) -> tuple[Component, ...]:
    """The components that the settings ask for, in the order in which they are shown."""
    return tuple(c for c in CATALOGUE if c.is_wanted(settings, in_containers))


def command(component: Component, target: Target, binaries: Mapping[str, str]) -> list[str]:
    """The whole command line. `binaries` maps an artifact's name to the path of its binary."""
    program = binaries[component.artifact] if component.artifact else sys.executable
    return [program, *component.argv(target), *component.argv_at(Path(program))]


def by_name(name: str) -> Component:
    """The component called `name`. Raises KeyError."""
    return {component.name: component for component in CATALOGUE}[name]


def programs(settings: Settings) -> dict[str, Artifact]:
    """What the components run, by name."""
    found = [component.program(settings) for component in CATALOGUE if component.program]
    return {artifact.name: artifact for artifact in found}
