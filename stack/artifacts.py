"""Obtains the components' binaries: from PATH, from the user's cache, or by building them with Go.

A binary is built in a scratch folder of the cache, asked for its version, and only then renamed to
`<cache>/<name>/<version>/`, so that a half-written one is never there to be used. `obtain_all` is
called by the runtimes and by the tests.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp

from stack import mirror
from stack.components import selected
from stack.go import BuildEnvironment, GoError, go_environment
from stack.render import render_template
from stack.settings import ROOT, Settings, variable_name

OnProgress = Callable[[str, str], None]
"""Called with an artifact's name and what is going on, in a few words."""

PROBE = ROOT / "stack" / "images" / "probe.go"
VERSION_VARIABLES = (
    "github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version",
    "github.com/prometheus/common/version.Version",
    "github.com/caddyserver/caddy/v2.CustomVersion",
)
# The Go module proxy does not serve it, and only a test of the journald receiver imports it.
OTELCOL_EMPTIED = ("github.com/open-telemetry/opentelemetry-collector-contrib/pkg/semconvtest",)
NO_NETWORK = ("no such host", "dial tcp", "connection refused", "i/o timeout", "unreachable")


class ArtifactError(Exception):
    """A binary could not be obtained; the text says which, why and what to do."""


@dataclass(frozen=True)
class Artifact:
    """A set of binaries that belong together and share a version.

    `packages` are Go packages (without version) and give one binary each; where `manifest` is set,
    the OpenTelemetry builder makes the binary from that text instead, and `source` is a program of
    one Go file. With none of them it is looked for on PATH alone. `required` is the module of a
    package that `go install` refuses (it replaces modules), `emptied` are modules that only tests
    of the source import, `static` is for images of nothing else.
    """

    name: str
    version: str
    packages: tuple[str, ...] = ()
    manifest: str = ""
    binaries: tuple[str, ...] = field(default=())
    required: str = ""
    emptied: tuple[str, ...] = ()
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
        text = self.manifest or self.source
        return f"{version}-{hashlib.sha256(text.encode()).hexdigest()[:12]}" if text else version


def catalogue(settings: Settings) -> dict[str, Artifact]:
    """Every artifact that the native runtime can use, by name."""
    versions = settings.versions
    metrics = "github.com/VictoriaMetrics"
    alertmanager = "github.com/prometheus/alertmanager/cmd"
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
            packages=(f"{alertmanager}/alertmanager", f"{alertmanager}/amtool"),
            binaries=("alertmanager", "amtool"),
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


def find(artifact: Artifact, cache: Path) -> Path | None:
    """The folder with the artifact's binaries if they are there, on PATH or in the cache."""
    folder = cache / artifact.name / artifact.key
    if all(os.access(folder / binary, os.X_OK) for binary in artifact.binaries):
        return folder
    on_path = not (artifact.manifest or artifact.source or artifact.static)
    return _on_path(artifact) if on_path else None


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


class Workshop:
    """Builds artifacts into the cache; one object per run, several threads."""

    def __init__(self, cache: Path, environment: BuildEnvironment, on_progress: OnProgress):
        self.cache = cache
        self.environment = environment
        self.on_progress = on_progress
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def build_all(self, artifacts: list[Artifact]) -> dict[str, str]:
        """Build all of them in parallel; the error texts of those that failed, by name."""
        failures: dict[str, str] = {}
        pool = ThreadPoolExecutor(max_workers=len(artifacts))
        try:
            futures = {artifact.name: pool.submit(self.build, artifact) for artifact in artifacts}
            for name, future in futures.items():
                try:
                    future.result()
                except (ArtifactError, OSError) as error:
                    failures[name] = str(error)
                    self.on_progress(name, "failed")
        except BaseException:  # Ctrl-C: no compiler may go on in the background
            self._stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return failures

    def build(self, artifact: Artifact) -> Path:
        """Build one artifact and return its folder in the cache. Raises ArtifactError."""
        home = self.cache / artifact.name
        home.mkdir(parents=True, exist_ok=True)
        self.on_progress(artifact.name, "waiting for another build")
        with _locked(home / ".lock"):
            if folder := find(artifact, self.cache):  # built by another process meanwhile
                return folder
            for leftover in home.glob(".building-*"):  # of a build that was interrupted
                shutil.rmtree(leftover, ignore_errors=True)
            scratch = Path(mkdtemp(prefix=".building-", dir=home))
            try:
                self._compile(artifact, scratch)
                self._check(artifact, scratch)
                final = home / artifact.key
                shutil.rmtree(final, ignore_errors=True)
                scratch.chmod(0o755)
                scratch.rename(final)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        self.on_progress(artifact.name, "built")
        return final

    def _compile(self, artifact: Artifact, scratch: Path) -> None:
        go = self.environment.go
        if artifact.manifest:
            manifest = scratch / "builder.yaml"  # stays beside the binary: says what is in it
            manifest.write_text(artifact.manifest, encoding="utf-8")
            for module in artifact.emptied:
                empty = scratch / "empty" / Path(module).name
                empty.mkdir(parents=True)
                (empty / "go.mod").write_text(f"module {module}\n", encoding="utf-8")
                (empty / "empty.go").write_text(f"package {empty.name}\n", encoding="utf-8")
            builder = f"go.opentelemetry.io/collector/cmd/builder@v{artifact.version}"
            self._run(artifact, [go, "run", builder, f"--config={manifest}"], scratch)
            (scratch / "source" / artifact.binaries[0]).rename(scratch / artifact.binaries[0])
            shutil.rmtree(scratch / "source")
            shutil.rmtree(scratch / "empty", ignore_errors=True)
            return
        if artifact.source:
            (scratch / "main.go").write_text(artifact.source, encoding="utf-8")
            output = ["-o", artifact.binaries[0], "main.go"]
            self._run(artifact, [go, "build", "-trimpath", "-ldflags=-s -w", *output], scratch)
            return
        if artifact.required:
            self._compile_in_module(artifact, scratch)
            return
        for package in artifact.packages:
            # A binary that says which version it is, in each project's own way.
            stamps = " ".join(f"-X {name}=v{artifact.version}" for name in VERSION_VARIABLES)
            flags = ["-v", "-trimpath", f"-ldflags=-s -w {stamps}"]
            self._run(artifact, [go, "install", *flags, f"{package}@v{artifact.version}"], scratch)

    def _compile_in_module(self, artifact: Artifact, scratch: Path) -> None:
        """Build a package from a module of our own that requires its module."""
        (scratch / "go.mod").write_text(
            f"module logstack/{artifact.name}\n\nrequire {artifact.required} v{artifact.version}\n",
            encoding="utf-8",
        )
        stamp = f"-X {artifact.required}/internal.Version=v{artifact.version}"
        flags = ["-mod=mod", "-v", "-trimpath", f"-ldflags=-s -w {stamp}"]
        output = ["-o", artifact.binaries[0], artifact.packages[0]]
        self._run(artifact, [self.environment.go, "build", *flags, *output], scratch)

    def _check(self, artifact: Artifact, folder: Path) -> None:
        for binary in artifact.binaries:
            self._run(artifact, [str(folder / binary), "--version"], folder)

    def _run(self, artifact: Artifact, argv: list[str], folder: Path) -> None:
        """Run one step of a build, reporting its output line by line. Raises ArtifactError."""
        log = self.cache / artifact.name / "build.log"
        lines: list[str] = []
        process = self._start(argv, folder, static=artifact.static or bool(artifact.source))
        with process, log.open("a", encoding="utf-8") as log_file:
            for line in process.stdout or ():
                lines.append(line)
                log_file.write(line)
                self.on_progress(artifact.name, line.strip()[-60:])
        code = process.wait()
        with self._lock:
            self._running.discard(process)
        if code != 0:
            raise ArtifactError(_explain_failure(artifact, argv, code, lines, log))

    def _start(self, argv: list[str], folder: Path, *, static: bool) -> subprocess.Popen[str]:
        with self._lock:
            if self._stopped:
                raise ArtifactError("stopped")
            process = subprocess.Popen(
                argv,
                cwd=folder,
                env={
                    **self.environment.variables,
                    "GOBIN": str(folder),
                    **({"CGO_ENABLED": "0"} if static else {}),
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            self._running.add(process)
            return process

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGTERM)


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


def _explain_failure(
    artifact: Artifact, argv: list[str], code: int, lines: list[str], log: Path
) -> str:
    tail = "".join(f"    {line}" for line in lines[-6:]).rstrip()
    text = "".join(lines)
    if any(sign in text for sign in NO_NETWORK):
        what = "a download failed; is there a network?"
    else:
        what = f"`{' '.join(argv[:2])} …` ended with status {code}"
    return (
        f"{artifact.name} {artifact.version}: wanted a built binary, but {what}\n{tail}\n"
        f"    All of its output: {log}"
    )


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


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file, waiting for another process that has it."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
