"""Finds the binaries of an artifact in the cache or on PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from stack.components.component import Artifact

OnProgress = Callable[[str, str], None]
"""Called with an artifact's name and its current step, in a few words."""


class ArtifactError(Exception):
    """A binary cannot be provided; the text says which, why and what to do."""


def find(artifact: Artifact, cache: Path) -> Path | None:
    """The folder with the artifact's binaries in the cache or on PATH; None if there is none."""
    folder = cache / artifact.name / artifact.key
    if all(os.access(folder / binary, os.X_OK) for binary in artifact.binaries):
        return folder
    changed = artifact.manifest or artifact.source or artifact.patches
    return None if changed or artifact.static else _find_on_path(artifact)


def _find_on_path(artifact: Artifact) -> Path | None:
    """The folder of the binaries on PATH if they are of exactly the artifact's version."""
    program = shutil.which(artifact.binaries[0])
    if program is None:
        return None
    folder = Path(program).parent
    if not all(os.access(folder / binary, os.X_OK) for binary in artifact.binaries):
        return None
    try:
        printed = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = printed.stdout + printed.stderr
    words = text.replace(",", " ").split()
    # VictoriaMetrics' releases print the result of `git describe`: …-tags-v1.2.3-0-g0123abc
    described = f"-tags-v{artifact.version}-0-g" in text
    known = described or {artifact.version, f"v{artifact.version}"} & set(words)
    return folder if known else None
