"""Provides the components' binaries: from PATH, the cache, a mirror, a release, or built with Go.

Runtimes and tests call `ensure_all`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

from stack.artifacts import mirror
from stack.artifacts.artifact import ArtifactError, OnProgress, find
from stack.artifacts.builder import Builder
from stack.artifacts.go import GoError, go_environment
from stack.artifacts.release import fetch_program, is_released_alone, release_of
from stack.components.catalogue import CATALOGUE, by_name, programs, selected, with_go
from stack.components.component import Artifact
from stack.settings import ROOT, Settings, variable_name

__all__ = [
    "ArtifactError",
    "OnProgress",
    "cache_dir",
    "compose_plugin",
    "ensure_all",
    "fetch_from_mirror",
    "find",
    "find_in_venv",
    "is_available",
    "list_for_images",
    "required",
]

PROBE = ROOT / "stack" / "runtimes" / "docker" / "probe.go"


def list_for_images(settings: Settings) -> dict[str, Artifact]:
    """The artifacts in images that are built here: static binaries and the health probe."""
    probe = Artifact("probe", "1", source=PROBE.read_text(encoding="utf-8"), binaries=("probe",))
    known = programs(settings)
    built = {
        component.name: program if program.manifest else replace(program, static=True)
        for component in CATALOGUE
        if component.container.is_built and component.program
        for program in [known[component.artifact]]
    }
    return {**built, "probe": with_go(probe, settings)}


def compose_plugin(settings: Settings) -> Artifact:
    """Docker Compose v2, for machines whose distribution has no package of it."""
    module = "github.com/docker/compose/v2"
    compose = Artifact(
        "compose",
        settings.versions["compose"],
        packages=(f"{module}/cmd",),
        binaries=("docker-compose",),
        required=module,
    )
    return with_go(compose, settings)


def required(settings: Settings) -> dict[str, Artifact]:
    """The artifacts of the components that the settings select."""
    names = {component.artifact for component in selected(settings)}
    known = programs(settings).items()
    return {name: artifact for name, artifact in known if name in names}


def cache_dir(settings: Settings, environ: Mapping[str, str] = os.environ) -> Path:
    """Where built binaries are kept: settings.paths.cache or the user's cache directory.

    Raises ArtifactError where there is neither.
    """
    if settings.paths.cache:
        return ROOT / settings.paths.cache
    try:
        base = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        raise ArtifactError(_other_cache("none, as HOME is not set")) from None
    return Path(base) / "logstack" / "artifacts"


def _check_cache(cache: Path) -> None:
    """Programs can be written to it. Raises ArtifactError."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=cache).close()
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise ArtifactError(_other_cache(f"{cache}: {reason}")) from None


def _other_cache(got: str) -> str:
    return (
        f"paths.cache: expected a folder for built programs that can be written to, got {got}. "
        f"Name another folder: {variable_name('paths', 'cache')}=/some/folder"
    )


def is_available(name: str, settings: Settings) -> bool:
    """Whether an artifact is on PATH or in the cache already."""
    return find(programs(settings)[name], cache_dir(settings)) is not None


def find_in_venv(binary: str) -> Path:
    """A program of an installed Python package. Raises ArtifactError when it is missing."""
    path = Path(sys.executable).parent / binary
    if not os.access(path, os.X_OK):
        raise ArtifactError(
            f"cannot find {binary} beside {sys.executable}. Run: ./logstack --prepare"
        )
    return path


def fetch_from_mirror(
    artifact: Artifact, settings: Settings, on_progress: OnProgress
) -> Path | None:
    """Fetch an artifact into the cache; None without a mirror, or if the mirror does not have it.

    Returns the folder. Raises ArtifactError.
    """
    if not settings.paths.mirror:
        return None
    on_progress(artifact.name, "fetching from the mirror")
    names = artifact.name, artifact.key, artifact.binaries
    try:
        return mirror.fetch(settings.paths.mirror, cache_dir(settings), *names)
    except mirror.MirrorError as error:
        raise ArtifactError(str(error)) from None


def ensure_all(
    settings: Settings, on_progress: OnProgress, artifacts: Mapping[str, Artifact] | None = None
) -> dict[str, Path]:
    """The folder of each artifact's binaries by name; missing ones are built in parallel.

    Without `artifacts`: those of the components that the settings select. Raises ArtifactError,
    which names every artifact that failed; the others stay in the cache.
    """
    cache = cache_dir(settings)
    artifacts = required(settings) if artifacts is None else artifacts
    built = {name: artifact for name, artifact in artifacts.items() if not artifact.wheel}
    found = {name: find(artifact, cache) for name, artifact in built.items()}
    if None in found.values():
        _check_cache(cache)
    for name in [name for name, folder in found.items() if folder is None]:
        found[name] = fetch_from_mirror(artifacts[name], settings, on_progress)
    absent = [artifacts[name] for name, folder in found.items() if folder is None]
    found |= _fetch_releases(settings, on_progress, absent)
    missing = [artifacts[name] for name, folder in found.items() if folder is None]
    folders = {name: folder for name, folder in found.items() if folder is not None}
    wheels = [artifact for artifact in artifacts.values() if artifact.wheel]
    if not missing:
        return folders | {a.name: find_in_venv(a.binaries[0]).parent for a in wheels}
    if absent := [artifact for artifact in missing if not artifact.is_built]:
        raise ArtifactError("\n".join(_explain_absence(artifact) for artifact in absent))
    try:
        environment = go_environment(settings, cache, lambda text: on_progress("go", text))
    except GoError as error:
        raise ArtifactError(f"{error}\n{_summary(folders, missing)}") from None
    failures = Builder(cache, environment, on_progress).build_all(missing)
    folders |= {a.name: cache / a.name / a.key for a in missing if a.name not in failures}
    if failures:
        still_missing = [artifact for artifact in missing if artifact.name in failures]
        texts = "\n".join(failures.values())
        raise ArtifactError(f"{texts}\n{_summary(folders, still_missing)}")
    return folders | {a.name: find_in_venv(a.binaries[0]).parent for a in wheels}


def _fetch_releases(
    settings: Settings, on_progress: OnProgress, missing: Iterable[Artifact]
) -> dict[str, Path]:
    """The folders of programs that their projects release as zip archives. Raises ArtifactError."""
    found, failures = {}, []
    for artifact in missing:
        if artifact.is_built or not is_released_alone(artifact.name, settings):
            continue
        release = release_of(artifact.name, settings)
        try:
            found[artifact.name] = fetch_program(
                release, artifact, cache_dir(settings), on_progress
            )
        except ArtifactError as error:
            failures.append(str(error))
    if failures:
        raise ArtifactError("\n".join(failures))
    return found


def _explain_absence(artifact: Artifact) -> str:
    (binary,) = artifact.binaries
    program = shutil.which(binary)
    got = f"{program} of another version" if program else "none"
    instead = by_name(artifact.name).instead
    return (
        f"{artifact.name}: expected the program `{binary}` of version {artifact.version} on PATH, "
        f"got {got}. Install that release, or do without it: {instead}"
    )


def _summary(folders: Mapping[str, Path], missing: list[Artifact]) -> str:
    built = ", ".join(sorted(folders)) or "none"
    names = ", ".join(artifact.name for artifact in missing)
    return (
        f"Available: {built}. Missing: {names}. "
        "Run the same command again: it builds only what is missing."
    )
