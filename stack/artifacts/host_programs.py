"""The programs of hosts as artifacts, built, from a Python package, or packed as a bundle.

stack/hosts/plan.py gets versions and paths from `catalogue`; provisioning and the tests call
`ensure` for the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from stack import artifacts
from stack.artifacts import ArtifactError, OnProgress, bundles
from stack.common import exclusive_lock
from stack.components.catalogue import programs as component_programs
from stack.components.component import Artifact
from stack.components.grafana import grafana_home
from stack.settings import Settings

BUNDLE = ".tar.gz"


def catalogue(settings: Settings) -> dict[str, Artifact]:
    """By name; those built here are static, for hosts with an older C library."""
    known = component_programs(settings)
    built = {name: artifact for name, artifact in known.items() if artifact.packages}
    static = {name: replace(artifact, static=True) for name, artifact in built.items()}
    others = (
        Artifact("archiver", bundles.archiver_key(), binaries=(f"archiver{BUNDLE}",)),
        Artifact("grafana", settings.versions["grafana"], binaries=(f"grafana{BUNDLE}",)),
    )
    return {**known, **static, **{artifact.name: artifact for artifact in others}}


def ensure(settings: Settings, names: Iterable[str], on_progress: OnProgress) -> dict[str, Path]:
    """The folder with the files of each artifact. Raises ArtifactError."""
    known = catalogue(settings)
    makers: dict[str, Callable[[Path], None]] = {
        "archiver": lambda path: bundles.make_archiver(path, on_progress),
        "grafana": lambda path: _pack_grafana(settings, path),
    }
    folders: dict[str, Path] = {}
    programs = {}
    for name in names:
        if name in makers:
            folders[name] = _ensure_bundle(known[name], settings, on_progress, makers[name])
        else:
            programs[name] = known[name]
    return {**folders, **artifacts.ensure_all(settings, on_progress, programs)}


def _ensure_bundle(
    artifact: Artifact, settings: Settings, on_progress: OnProgress, make: Callable[[Path], None]
) -> Path:
    """The folder of a bundle, which is made if the cache has none; renamed once it is complete."""
    home = artifacts.cache_dir(settings) / artifact.name
    home.mkdir(parents=True, exist_ok=True)
    path = home / artifact.key / artifact.binaries[0]
    with exclusive_lock(home / ".lock"):
        if not path.is_file() and not artifacts.fetch_from_mirror(artifact, settings, on_progress):
            path.parent.mkdir(exist_ok=True)
            scratch = path.with_name(f".{path.name}.new")
            make(scratch)
            scratch.rename(path)
    return path.parent


def _pack_grafana(settings: Settings, path: Path) -> None:
    """Pack the release on PATH: program, web pages and defaults."""
    artifact = component_programs(settings)["grafana"]
    folder = artifacts.ensure_all(settings, lambda name, text: None, {"grafana": artifact})
    program = (folder["grafana"] / "grafana").resolve()
    home = Path(grafana_home(program)[0].partition("=")[2])
    if not (home / "conf" / "defaults.ini").is_file():
        raise ArtifactError(
            f"grafana: expected a release with conf/ and public/ in {home}, got neither"
        )
    roots = [name for name in ("conf", "public", "plugins-bundled") if (home / name).is_dir()]
    if not (home / "bin" / "grafana").is_file():  # a package keeps the program elsewhere
        raise ArtifactError(
            f"grafana: expected the program at {home / 'bin' / 'grafana'}, got {program}. Unpack "
            "Grafana's release archive and put its folder bin on PATH"
        )
    bundles.pack(home, path, [*roots, "bin"])
