"""What an artifact is, and whether its binaries are there already: in the cache or on PATH."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

OnProgress = Callable[[str, str], None]
"""Called with an artifact's name and what is going on, in a few words."""


class ArtifactError(Exception):
    """A binary could not be obtained; the text says which, why and what to do."""


@dataclass(frozen=True)
class Artifact:
    """A set of binaries that belong together and share a version.

    `packages` are Go packages (without version) and give one binary each; where `manifest` is set,
    the OpenTelemetry builder makes the binary from that text instead, and `source` is a program of
    one Go file. With none of them it is looked for on PATH alone. `required` is the module of a
    package that is built in a module of our own: one that `go install` refuses (it replaces
    modules), or one of which we replace a module: `replaced` are its path and the one Go file to
    take instead. `emptied` are modules that only tests of the source import, `static` is for images
    of nothing else.
    """

    name: str
    version: str
    packages: tuple[str, ...] = ()
    manifest: str = ""
    binaries: tuple[str, ...] = field(default=())
    required: str = ""
    emptied: tuple[str, ...] = ()
    replaced: tuple[str, str] | None = None
    source: str = ""
    static: bool = False

    @property
    def is_built(self) -> bool:
        """Whether this project builds it; otherwise it has to be on PATH."""
        return bool(self.packages or self.manifest or self.source)

    @property
    def key(self) -> str:
        """The cache folder's name: the version, and what else decides about the content."""
        version = f"{self.version}-static" if self.static else self.version
        text = self.manifest or self.source or (self.replaced or ("", ""))[1]
        return f"{version}-{hashlib.sha256(text.encode()).hexdigest()[:12]}" if text else version


def find(artifact: Artifact, cache: Path) -> Path | None:
    """The folder with the artifact's binaries if they are there, on PATH or in the cache."""
    folder = cache / artifact.name / artifact.key
    if all(os.access(folder / binary, os.X_OK) for binary in artifact.binaries):
        return folder
    ours = artifact.manifest or artifact.source or artifact.static or artifact.replaced
    return None if ours else _on_path(artifact)


def _on_path(artifact: Artifact) -> Path | None:
    """The folder of a binary on PATH that is of the very version wanted."""
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
