"""The files that the components of a target read, and supervisord's. Pure: runtimes write them."""

from __future__ import annotations

from collections.abc import Mapping

from stack.components.catalogue import CATALOGUE, command, selected
from stack.render.templates import render_template
from stack.settings import ROOT
from stack.settings.targets import Target
from stack.settings.units import parse_duration


def render_native(
    target: Target, binaries: Mapping[str, str], secrets: Mapping[str, str]
) -> dict[str, str]:
    """The native runtime's files, but for the alert rules. `secrets` by the variable's name."""
    return {
        **render_components(target, secrets),
        "supervisord.conf": render_supervisor(target, binaries, secrets),
    }


def render_components(target: Target, secrets: Mapping[str, str]) -> dict[str, str]:
    """One folder per component."""
    files: dict[str, str] = {}
    for component in selected(target.settings, in_containers=target.in_containers):
        files |= component.files(target, secrets)
    return files


def render_supervisor(
    target: Target, binaries: Mapping[str, str], secrets: Mapping[str, str]
) -> str:
    """supervisord's configuration: one program per component."""
    stop_timeout = parse_duration(target.settings.timing.stop_timeout)
    stop_seconds = round(stop_timeout.total_seconds())
    programs = [
        {
            "name": component.name,
            "argv": command(component, target, binaries),
            "env": {
                **component.env(target),
                **{name: secrets[name] for name in component.variables},
            },
            "directory": ROOT,
            "autostart": str(not component.on_demand),
            # Started in the catalogue's order and stopped the other way round: the engine last.
            "priority": CATALOGUE.index(component) + 1,
            "stop_seconds": component.stop_seconds or stop_seconds,
        }
        for component in selected(target.settings)
    ]
    return render_template(
        "supervisor/supervisord.conf.j2",
        target=target,
        programs=programs,
    )
