"""Writes what components read into the native runtime's run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from stack.components import catalogue as components
from stack.settings.secrets import write_private
from stack.settings.targets import SETTINGS_FILE, Target

# In the run folder: the files that changed and that a running component may not have read yet.
UNREAD_FILE = "unread.json"


def write_files(target: Target, files: Mapping[str, str]) -> set[str]:
    """Write what differs and remove what is no longer rendered; the files that changed.

    Also those that changed in an `up` that ended before it had restarted who reads them.
    """
    for folder in (target.run_dir, target.data_dir):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    everything = {**files, SETTINGS_FILE: target.settings.model_dump_json(indent=2) + "\n"}
    rendered = {target.run_dir / name: text for name, text in everything.items()}
    differing = {path for path, text in rendered.items() if not _holds(path, text)}
    others = {
        path
        for component in components.CATALOGUE
        for path in target.config_dir(component.name).rglob("*")
        if path.is_file() and path not in rendered
    }
    changed = {str(path.relative_to(target.run_dir)) for path in differing | others}
    unread = target.run_dir / UNREAD_FILE
    if unread.exists():
        changed |= set(json.loads(unread.read_bytes()))
    if changed:
        write_private(unread, json.dumps(sorted(changed)))
    for path in differing:
        write_private(path, rendered[path])
    for path in others:
        path.unlink()
    for component in components.selected(target.settings):
        target.storage_dir(component.name).mkdir(parents=True, exist_ok=True, mode=0o700)
    target.log_file("supervisord").parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    target.app_log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    target.archiver_log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return changed


def forget_changes(target: Target) -> None:
    """Every component that reads a changed file was started since."""
    (target.run_dir / UNREAD_FILE).unlink(missing_ok=True)


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()
