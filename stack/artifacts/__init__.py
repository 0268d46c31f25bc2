"""Obtains the components' binaries: from PATH, from the user's cache, a mirror, or built with Go.

`obtain_all` is called by the runtimes and by the tests.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stack.artifacts import mirror
from stack.artifacts.artifact import Artifact, ArtifactError, OnProgress, find
from stack.artifacts.builder import VERSION_VARIABLES, Workshop
from stack.artifacts.go import GoError, go_environment
from stack.components.catalogue import selected
from stack.render.templates import render_template
from stack.settings import ROOT, Settings, variable_name

__all__ = [
    "VERSION_VARIABLES",
    "Artifact",
    "ArtifactError",
    "OnProgress",
    "cache_dir",
    "catalogue",
    "compose_plugin",
    "find",
    "for_images",
    "from_mirror",
    "from_wheel",
    "is_there",
    "obtain_all",
    "wanted",
]

# Instead of the module that lets pages of every origin in.
CORS = ROOT / "stack" / "artifacts" / "cors.go"
PROBE = ROOT / "stack" / "runtimes" / "docker" / "probe.go"
# The Go module proxy does not serve it, and only a test of the journald receiver imports it.
OTELCOL_EMPTIED = ("github.com/open-telemetry/opentelemetry-collector-contrib/pkg/semconvtest",)


def catalogue(settings: Settings) -> dict[str, Artifact]:
    """Every artifact that the native runtime can use, by name."""
    versions = settings.versions
    metrics = "github.com/VictoriaMetrics"
    alertmanager = "github.com/prometheus/alertmanager"
    artifacts = (
        Artifact(
            "victorialogs",
            versions.victorialogs,
            packages=(f"{metrics}/VictoriaLogs/app/victoria-logs",),
            binaries=("victoria-logs",),
        ),
        Artifact(
            "vmalert",
            versions.vmalert,
            packages=(f"{metrics}/VictoriaMetrics/app/vmalert",),
            binaries=("vmalert",),
        ),
        Artifact(
            "alertmanager",
            versions.alertmanager,
            packages=(f"{alertmanager}/cmd/alertmanager", f"{alertmanager}/cmd/amtool"),
            binaries=("alertmanager", "amtool"),
            required=alertmanager,
            replaced=("github.com/rs/cors", CORS.read_text(encoding="utf-8")),
        ),
        Artifact(
            "otelcol",
            versions.otelcol,
            manifest=render_template(
                "otelcol/builder.yaml.j2", version=versions.otelcol, emptied=OTELCOL_EMPTIED
            ),
            binaries=("otelcol-logstack",),
            emptied=OTELCOL_EMPTIED,
        ),
        Artifact(
            "caddy",
            versions.caddy,
            packages=("github.com/caddyserver/caddy/v2/cmd/caddy",),
            binaries=("caddy",),
        ),
        # Deployed as they are released, never built here.
        Artifact("loki", versions.loki, binaries=("loki",)),
        Artifact("promtail", versions.promtail, binaries=("promtail",)),
        Artifact("grafana", versions.grafana, binaries=("grafana",)),
    )
    return {artifact.name: artifact for artifact in artifacts}


def for_images(settings: Settings) -> dict[str, Artifact]:
    """What local images are made of: static binaries, and what asks for their health."""
    names = ("victorialogs", "vmalert", "alertmanager")
    static = {name: replace(catalogue(settings)[name], static=True) for name in names}
    probe = Artifact("probe", "1", source=PROBE.read_text(encoding="utf-8"), binaries=("probe",))
    return {**static, "otelcol": catalogue(settings)["otelcol"], "probe": probe}


def compose_plugin(settings: Settings) -> Artifact:
    """Docker Compose v2, for machines whose distribution has no package of it."""
    module = "github.com/docker/compose/v2"
    return Artifact(
        "compose",
        settings.versions.compose,
        packages=(f"{module}/cmd",),
        binaries=("docker-compose",),
        required=module,
    )


def wanted(settings: Settings) -> dict[str, Artifact]:
    """The artifacts of the components that the settings ask for."""
    names = {component.artifact for component in selected(settings)}
    return {name: artifact for name, artifact in catalogue(settings).items() if name in names}


def cache_dir(settings: Settings, environ: Mapping[str, str] = os.environ) -> Path:
    """Where built binaries are kept: settings.paths.cache or the user's cache directory."""
    if settings.paths.cache:
        return ROOT / settings.paths.cache
    base = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "logstack" / "artifacts"


def is_there(name: str, settings: Settings) -> bool:
    """Whether an artifact is on PATH or built, so that nothing has to be obtained for it."""
    return find(catalogue(settings)[name], cache_dir(settings)) is not None


def from_wheel(binary: str) -> Path:
    """A program that a Python package brings. Raises ArtifactError when it is not installed."""
    path = Path(sys.executable).parent / binary
    if not os.access(path, os.X_OK):
        raise ArtifactError(
            f"{binary}: wanted it beside {sys.executable}, found nothing. "
            "Type: ./logstack --prepare"
        )
    return path


def from_mirror(artifact: Artifact, settings: Settings, on_progress: OnProgress) -> Path | None:
    """The artifact's folder, fetched into the cache. None where there is no mirror or it has none.

    Raises ArtifactError.
    """
    if not settings.paths.mirror:
        return None
    on_progress(artifact.name, "asking the mirror")
    names = artifact.name, artifact.key, artifact.binaries
    try:
        return mirror.fetch(settings.paths.mirror, cache_dir(settings), *names)
    except mirror.MirrorError as error:
        raise ArtifactError(str(error)) from None


def obtain_all(
    settings: Settings, on_progress: OnProgress, artifacts: Mapping[str, Artifact] | None = None
) -> dict[str, Path]:
    """Folder of each artifact's binaries by name; builds in parallel what is missing.

    Without `artifacts`: what the settings' components need.
    Raises ArtifactError, which names every artifact that failed; what was built stays in the cache.
    """
    cache = cache_dir(settings)
    artifacts = wanted(settings) if artifacts is None else artifacts
    found = {name: find(artifact, cache) for name, artifact in artifacts.items()}
    for name in [name for name, folder in found.items() if folder is None]:
        found[name] = from_mirror(artifacts[name], settings, on_progress)
    missing = [artifacts[name] for name, folder in found.items() if folder is None]
    folders = {name: folder for name, folder in found.items() if folder is not None}
    if not missing:
        return folders
    if absent := [artifact for artifact in missing if not artifact.is_built]:
        raise ArtifactError("\n".join(_explain_absence(artifact) for artifact in absent))
    try:
        environment = go_environment(settings, lambda text: on_progress("go", text))
    except GoError as error:
        raise ArtifactError(f"{error}\n{_summary(folders, missing)}") from None
    workshop = Workshop(cache, environment, on_progress)
    failures = workshop.build_all(missing)
    folders |= {a.name: cache / a.name / a.key for a in missing if a.name not in failures}
    if failures:
        still_missing = [artifact for artifact in missing if artifact.name in failures]
        texts = "\n".join(failures.values())
        raise ArtifactError(f"{texts}\n{_summary(folders, still_missing)}")
    return folders


def _explain_absence(artifact: Artifact) -> str:
    (binary,) = artifact.binaries
    program = shutil.which(binary)
    found = f"{program}, which is another version" if program else "none"
    others = {
        "loki": f"{variable_name('stack', 'engine')}=victorialogs "
        f"{variable_name('stack', 'agent')}=otelcol",
        "promtail": f"{variable_name('stack', 'agent')}=otelcol",
        "grafana": f"{variable_name('stack', 'grafana')}=off",
    }
    return (
        f"{artifact.name} {artifact.version}: wanted the program `{binary}` of this version on "
        f"PATH, found {found}. Install its release, or do without it: {others[artifact.name]}"
    )


def _summary(folders: Mapping[str, Path], missing: list[Artifact]) -> str:
    have = ", ".join(sorted(folders)) or "none"
    names = ", ".join(artifact.name for artifact in missing)
    return (
        f"Already built and kept: {have}. Still missing: {names}. "
        "Run the same command again: it continues where this one stopped."
    )
