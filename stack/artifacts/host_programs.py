"""The programs of hosts as artifacts: built, released, from a Python package, or a bundle.

stack/hosts/plan.py gets versions and paths from `catalogue`; provisioning and the tests call
`ensure` for the files.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from stack import artifacts
from stack.artifacts import ArtifactError, OnProgress, bundles, release
from stack.common import exclusive_lock
from stack.components.catalogue import programs as component_programs
from stack.components.component import Artifact
from stack.components.grafana import grafana_home
from stack.settings import Settings

BUNDLE = ".tar.gz"
# Of a release of Grafana: its folders that are deployed, and files that every release has.
GRAFANA_FOLDERS = ("bin", "conf", "public", "plugins-bundled")
GRAFANA_FILES = frozenset({"bin/grafana", "conf/defaults.ini"})


def catalogue(settings: Settings) -> dict[str, Artifact]:
    """By name; those built here are static, for hosts with an older C library."""
    known = component_programs(settings)
    built = {name: artifact for name, artifact in known.items() if artifact.packages}
    static = {name: replace(artifact, static=True) for name, artifact in built.items()}
    others = (
        Artifact("archiver", bundles.archiver_key(), binaries=(f"archiver{BUNDLE}",)),
        Artifact("monitor", bundles.monitor_key(), binaries=(f"monitor{BUNDLE}",)),
        Artifact("grafana", settings.versions["grafana"], binaries=(f"grafana{BUNDLE}",)),
    )
    return {**known, **static, **{artifact.name: artifact for artifact in others}}


def ensure(settings: Settings, names: Iterable[str], on_progress: OnProgress) -> dict[str, Path]:
    """The folder with the files of each artifact. Raises ArtifactError.

    Releases come first, which may be impossible to fetch, then builds, and the archiver's packages.
    """
    known, needed = catalogue(settings), set(names)
    folders: dict[str, Path] = {}

    def ensure_bundle(name: str, make: Callable[[Path], None]) -> None:
        if name in needed:
            folders[name] = _ensure_bundle(known[name], settings, on_progress, make)

    ensure_bundle("grafana", lambda path: _pack_grafana(settings, path, on_progress))
    programs = {name: known[name] for name in sorted(needed - {"grafana", "archiver", "monitor"})}
    folders |= artifacts.ensure_all(settings, on_progress, programs)
    ensure_bundle("monitor", lambda path: bundles.make_monitor(path, on_progress))
    ensure_bundle("archiver", lambda path: bundles.make_archiver(path, on_progress))
    return folders


def _ensure_bundle(
    artifact: Artifact, settings: Settings, on_progress: OnProgress, make: Callable[[Path], None]
) -> Path:
    """The folder of a bundle, which is made if the cache has none; renamed once it is complete."""
    home = artifacts.cache_dir(settings) / artifact.name
    home.mkdir(parents=True, exist_ok=True)
    path = home / artifact.key / artifact.binaries[0]
    if path.is_file():  # whoever packs another version does not hold this up
        return path.parent
    with exclusive_lock(home / ".lock"):
        if not path.is_file() and not artifacts.fetch_from_mirror(artifact, settings, on_progress):
            path.parent.mkdir(exist_ok=True)
            scratch = path.with_name(f".{path.name}.new")
            try:
                make(scratch)
                scratch.rename(path)
            finally:
                scratch.unlink(missing_ok=True)
    return path.parent


def _pack_grafana(settings: Settings, path: Path, on_progress: OnProgress) -> None:
    """Pack Grafana's release, from PATH or downloaded: program, web pages and defaults."""
    artifact = component_programs(settings)["grafana"]
    folder = artifacts.find(artifact, artifacts.cache_dir(settings))
    if folder is None:
        _pack_released_grafana(settings, path, on_progress)
        return
    program = (folder / "grafana").resolve()
    home = Path(grafana_home(program)[0].partition("=")[2])
    if not (home / "conf" / "defaults.ini").is_file():
        raise ArtifactError(
            f"grafana: expected a release with conf/ and public/ in {home}, got neither"
        )
    roots = [name for name in GRAFANA_FOLDERS if (home / name).is_dir()]
    if not (home / "bin" / "grafana").is_file():  # a package keeps the program elsewhere
        raise ArtifactError(
            f"grafana: expected the program at {home / 'bin' / 'grafana'}, got {program}. Unpack "
            "Grafana's release archive and put its folder bin on PATH"
        )
    bundles.pack(home, path, roots)


def _pack_released_grafana(settings: Settings, path: Path, on_progress: OnProgress) -> None:
    released = release.release_of("grafana", settings)
    with TemporaryDirectory(prefix=".unpacking-", dir=path.parent) as scratch:
        archive = Path(scratch) / "archive"
        release.download(released, archive, on_progress)
        on_progress("grafana", "packing")
        try:
            names = bundles.repack(archive, path, GRAFANA_FOLDERS)
            got = "neither" if names.isdisjoint(GRAFANA_FILES) else "one of them"
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            names, got = set(), str(error)
    if not names >= GRAFANA_FILES:
        text = f"{released.url}: expected an archive with {' and '.join(sorted(GRAFANA_FILES))}"
        raise release.refusal(released, f"{text}, got {got}", f"curl -fLO {released.url}")
