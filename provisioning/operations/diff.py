"""`--diff`: the differing lines of files, without those of secret ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from pyinfra import host

from provisioning.changes import Change, is_current
from provisioning.facts.host import FileTexts
from provisioning.run import Run
from stack.cli.console import out
from stack.hosts.files import HostFile


def show_differences(
    run: Run, planned: Iterable[HostFile], found: Iterable[Change], state: dict[str, Any]
) -> None:
    """Print what would change in files of this host, where pyinfra was asked to."""
    shown = run.state.is_executing and run.state.check_for_changes  # when it was prepared
    if shown or not run.state.config.DIFF:
        return
    differing = [file for file in planned if not is_current(file, state)]
    public = [file.path for file in differing if not file.secret]
    texts = run.sessions[host.name].fact(FileTexts, files=public) if public else {}
    for file in differing:
        for line in _lines(file, state["files"].get(file.path, {}), texts.get(file.path, "")):
            out.print(line, highlight=False, markup=False)
    for change in found:
        if change.action == "remove":
            out.print(f"{host.name}: {change.subject}: removed", highlight=False)


def _lines(file: HostFile, before: dict[str, str], text: str) -> Iterator[str]:
    """The differences of one file: its mode, its owner, its lines."""
    for name, expected in (("mode", file.mode), ("owner", file.owner)):
        if before.get(name, expected) != expected:
            yield f"{host.name}: {file.path}: {name} {before[name]} -> {expected}"
    if file.secret:
        yield f"{host.name}: {file.path}: secret, not shown"
        return
    was, now = text.splitlines(), file.text.splitlines()
    yield from difflib.unified_diff(was, now, f"{host.name}:{file.path}", "plan", lineterm="")
