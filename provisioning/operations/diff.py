"""`--diff`: the differing lines of files, without those of secret ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pyinfra.api.host import Host

from provisioning.changes import is_current
from provisioning.facts.host import FileTexts
from provisioning.run import Run
from stack.cli.console import out
from stack.hosts.files import HostFile


def show_differences(
    run: Run, host: Host, planned: Iterable[HostFile], state: dict[str, Any]
) -> None:
    """Print what would change in the files that differ, where pyinfra was asked to."""
    shown = run.state.is_executing and run.state.check_for_changes  # when it was prepared
    differing = [file for file in planned if not is_current(file, state)]
    if shown or not (run.state.config.DIFF and differing):
        return
    public = [file.path for file in differing if not file.secret]
    texts = run.sessions[host.name].fact(FileTexts, files=public)
    for file in differing:
        if file.secret:
            out.print(f"{host.name}: {file.path}: secret, not shown", highlight=False)
            continue
        before = texts.get(file.path, "").splitlines()
        lines = difflib.unified_diff(
            before, file.text.splitlines(), f"{host.name}:{file.path}", "plan", lineterm=""
        )
        for line in lines:
            out.print(line, highlight=False, markup=False)
