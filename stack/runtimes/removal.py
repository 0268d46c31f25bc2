"""What `logstack clean` removes of the native runtime."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from stack.common.counted import counted
from stack.runtimes.native import NativeError
from stack.runtimes.preflight import describe_writers
from stack.settings import Settings
from stack.settings.secrets import SIGNING_KEY, secrets_file
from stack.settings.targets import Target, native, read_started_settings
from stack.settings.units import format_bytes

# What a `clean` that was killed has left of a folder.
SUFFIX = ".removed"


def removable(settings: Settings) -> dict[Path, int]:
    """Folders and their sizes in bytes."""
    target = _started(settings)
    folders = (target.data_dir, target.run_dir)
    everything = [path for folder in folders for path in (folder, _aside(folder))]
    return {path: size_of(path) for path in everything if path.exists()}


def describe_losses(settings: Settings) -> list[str]:
    """What no other place has: the archive and its key. Empty where there is neither."""
    target = _started(settings)
    archive = target.settings.archive
    losses = []
    if size := size_of(store := target.storage_dir("seaweedfs")):
        lock = (
            "without a lock (archive.lock)"
            if archive.lock == "none"
            else f"each hour locked for {counted(archive.days, 'day')} (archive.lock = "
            f"{archive.lock}), which does not protect its files"
        )
        losses.append(f"the archive: {format_bytes(size)} in {store}, {lock}")
    if archive.endpoint and _has_signing_key(target):
        losses.append(
            f"{SIGNING_KEY} in {secrets_file(target.data_dir)}, without which the archive at "
            f"{archive.endpoint} can be neither verified nor continued"
        )
    return losses


def remove(settings: Settings) -> None:
    """Remove it all, once no program writes there. Raises NativeError.

    First the names: nothing starts on folders of which a part is missing.
    """
    target = _started(settings)
    if problem := describe_writers(target):
        raise NativeError(f"cannot remove {problem}. Stop that process, then run: ./logstack clean")
    for folder in (target.data_dir, target.run_dir):
        if folder.exists():
            shutil.rmtree(_aside(folder), ignore_errors=True)
            folder.rename(_aside(folder))
        if _aside(folder).exists():
            shutil.rmtree(_aside(folder))


def size_of(folder: Path) -> int:
    """The bytes of the files below a folder; 0 where there is none."""
    return sum(entry.lstat().st_size for entry in folder.rglob("*") if entry.is_file())


def _started(settings: Settings) -> Target:
    """What was started in this run folder, whatever the settings say by now."""
    return native(read_started_settings(settings, "native") or settings)


def _aside(folder: Path) -> Path:
    return folder.with_name(folder.name + SUFFIX)


def _has_signing_key(target: Target) -> bool:
    try:
        return bool(json.loads(secrets_file(target.data_dir).read_bytes()).get(SIGNING_KEY))
    except (OSError, ValueError, AttributeError):
        return False
