"""What a test of builds looks at: the calls of go, folders, and errors."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from stack.artifacts import ArtifactError, ensure_all, required
from stack.components.component import Artifact
from stack.settings import Settings

EVERYTHING = [
    "install alertmanager",
    "install amtool",
    "install victoria-logs",
    "install vmalert",
    "run builder",
]


def silent(name: str, text: str) -> None:
    """Ignore progress."""


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def refusal(values: Settings) -> str:
    with pytest.raises(ArtifactError) as caught:
        ensure_all(values, silent)
    return str(caught.value)


def to_build(values: Settings) -> dict[str, Artifact]:
    """What is made here: a wheel brings the others."""
    return {name: item for name, item in required(values).items() if not item.wheel}


def built(values: Settings) -> list[str]:
    """The folders of all artifacts that are made here."""
    return sorted(f"{values.paths.cache}/{a.name}/{a.key}" for a in to_build(values).values())


def scratch_folders(values: Settings) -> list[Path]:
    return list(Path(values.paths.cache).glob("*/.building-*"))
