"""Runs a component's own checker as a deploy does: on files that are staged, not yet in place."""

from __future__ import annotations

import subprocess
from pathlib import Path

from stack.artifacts import host_programs as programs
from stack.hosts.plan import HostComponent
from stack.settings import Settings
from tests.support.host_processes import binaries_of


def check(
    component: HostComponent, settings: Settings, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Write the component's files below `folder` and let its program judge them."""
    start = f"/etc/logstack/{component.name}/"
    for file in component.files:
        path = folder / file.path.removeprefix(start)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, encoding="utf-8")
    name = component.artifact or component.name
    home = binaries_of(settings, name)[name]
    program = programs.catalogue(settings)[name].binaries[0]
    known = {"binary": f"{home}/{program}", "folder": str(home), "config": str(folder)}
    argv = [word.format(**known) for word in component.check]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
