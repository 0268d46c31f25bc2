"""All components in the order of their start, and those that the settings select.

A module of this folder that defines COMPONENTS is part of the catalogue; there is no other list.
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from stack import components
from stack.components.component import Artifact, Component
from stack.settings import Settings
from stack.settings.targets import Target


def _discover() -> Iterator[Component]:
    for module in pkgutil.iter_modules(components.__path__):
        if module.name != Path(__file__).stem:
            loaded = import_module(f"{components.__name__}.{module.name}")
            yield from getattr(loaded, "COMPONENTS", ())


CATALOGUE: tuple[Component, ...] = tuple(sorted(_discover(), key=lambda component: component.order))


def selected(settings: Settings, *, in_containers: bool = False) -> tuple[Component, ...]:
    """The components that the settings select, in the order of lists."""
    return tuple(c for c in CATALOGUE if c.is_selected(settings, in_containers))


def command(component: Component, target: Target, binaries: Mapping[str, str]) -> list[str]:
    """The complete command line. `binaries` maps names of artifacts to paths of binaries."""
    program = binaries[component.artifact] if component.artifact else sys.executable
    return [program, *component.argv(target), *component.argv_at(Path(program))]


def by_name(name: str) -> Component:
    """The component called `name`. Raises KeyError."""
    return {component.name: component for component in CATALOGUE}[name]


def programs(settings: Settings) -> dict[str, Artifact]:
    """The artifacts of all components, by name."""
    artifacts = [component.program(settings) for component in CATALOGUE if component.program]
    return {artifact.name: with_go(artifact, settings) for artifact in artifacts}


def with_go(artifact: Artifact, settings: Settings) -> Artifact:
    """An artifact that is built again when versions.go rises, as its fixes are in the binary."""
    is_go = artifact.is_built and not artifact.wheel
    return replace(artifact, go=settings.versions.go) if is_go else artifact
