"""Builds artifacts with Go.

Each is built in a scratch folder of the cache, run with --version, and only then renamed to
`<cache>/<name>/<version>/`, so that an incomplete binary is never used.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import mkdtemp

from stack.artifacts.artifact import ArtifactError, OnProgress, find
from stack.artifacts.go import BuildEnvironment
from stack.common import exclusive_lock
from stack.components.component import Artifact

VERSION_VARIABLES = (
    "github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version",
    "github.com/prometheus/common/version.Version",
    "github.com/caddyserver/caddy/v2.CustomVersion",
)
NO_NETWORK = ("no such host", "dial tcp", "connection refused", "i/o timeout", "unreachable")


class Builder:
    """Builds artifacts into the cache, in several threads."""

    def __init__(self, cache: Path, environment: BuildEnvironment, on_progress: OnProgress):
        self.cache = cache
        self.environment = environment
        self.on_progress = on_progress
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def build_all(self, artifacts: list[Artifact]) -> dict[str, str]:
        """Build all artifacts in parallel; returns the errors of those that failed, by name."""
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
        except BaseException:  # Ctrl-C: no compiler may continue in the background
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
        with exclusive_lock(home / ".lock"):
            if folder := find(artifact, self.cache):  # another process has built it
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
            manifest = scratch / "builder.yaml"  # stays beside the binary and lists its contents
            manifest.write_text(artifact.manifest, encoding="utf-8")
            for module in artifact.emptied:
                empty = scratch / "empty" / Path(module).name
                empty.mkdir(parents=True)
                (empty / "go.mod").write_text(f"module {module}\n", encoding="utf-8")
                (empty / "empty.go").write_text(f"package {empty.name}\n", encoding="utf-8")
            for name, text in artifact.modules:
                own = scratch / "own" / name
                own.mkdir(parents=True)
                (own / "go.mod").write_text(f"module logstack/{name}\n", encoding="utf-8")
                (own / f"{name}.go").write_text(text, encoding="utf-8")
            self._patch(artifact, scratch)
            builder = f"go.opentelemetry.io/collector/cmd/builder@v{artifact.version}"
            self._run(artifact, [go, "run", builder, f"--config={manifest}"], scratch)
            (scratch / "source" / artifact.binaries[0]).rename(scratch / artifact.binaries[0])
            shutil.rmtree(scratch / "source")
            for folder in ("empty", "own", "patched"):
                shutil.rmtree(scratch / folder, ignore_errors=True)
            return
        if artifact.source:
            (scratch / "main.go").write_text(artifact.source, encoding="utf-8")
            output = ["-o", artifact.binaries[0], "main.go"]
            self._run(artifact, [go, "build", "-trimpath", "-ldflags=-s -w", *output], scratch)
            return
        module = artifact.required
        if module:
            _write_module(artifact, scratch)
        # Stamp the version, which each project keeps in another variable.
        names = (*VERSION_VARIABLES, *([f"{module}/internal.Version"] if module else []))
        stamps = " ".join(f"-X {name}=v{artifact.version}" for name in names)
        flags = [*(["-mod=mod"] if module else []), "-v", "-trimpath", f"-ldflags=-s -w {stamps}"]
        patched = self._patch(artifact, scratch)
        place = patched or scratch
        for package, binary in zip(artifact.packages, artifact.binaries, strict=True):
            source = package if module or patched else f"{package}@v{artifact.version}"
            self._run(artifact, [go, "install", *flags, source], place)
            (place / Path(package).name).rename(scratch / binary)
        shutil.rmtree(scratch / "patched", ignore_errors=True)

    def _patch(self, artifact: Artifact, scratch: Path) -> Path | None:
        """Copies of the modules that are changed or made complete: the first; None without.

        Raises ArtifactError.
        """
        changed = [patch.module for patch in artifact.patches]
        modules = list(dict.fromkeys([*changed, *(added.module for added in artifact.added)]))
        named_by = {patch.module: patch.required_by for patch in artifact.patches}
        copies: dict[str, Path] = {}
        for module in modules:
            required_by = copies[modules[0]] if copies and not artifact.manifest else None
            if name := named_by.get(module):
                required_by = self._download(artifact, f"{name}@v{artifact.version}", scratch)
            copies[module] = self._copy_module(artifact, module, scratch, required_by)
            if required_by and not artifact.manifest:
                replace = f"-replace={module}={copies[module]}"
                self._run(artifact, [self.environment.go, "mod", "edit", replace], required_by)
        for added in artifact.added:
            path = copies[added.module] / added.file
            path.parent.mkdir(parents=True, exist_ok=True)
            if added.of:
                versioned = f"{added.module}@v{added.of}"
                shutil.copyfile(self._download(artifact, versioned, scratch) / added.file, path)
            else:
                path.write_text(added.text, encoding="utf-8")
        for patch in artifact.patches:
            path = copies[patch.module] / patch.file
            text = path.read_text(encoding="utf-8")
            if text.count(patch.before) != 1:
                raise ArtifactError(
                    f"cannot patch {patch.module}@v{artifact.version}: expected the lines that the "
                    f"patch changes once in {patch.file}, got another text"
                )
            path.write_text(text.replace(patch.before, patch.after), encoding="utf-8")
        return copies[modules[0]] if modules else None

    def _copy_module(
        self, artifact: Artifact, module: str, scratch: Path, required_by: Path | None
    ) -> Path:
        """A copy of a module that can be changed, of the version that `required_by` requires.

        Raises ArtifactError.
        """
        version = f"v{artifact.version}"
        if required_by:
            argv = [self.environment.go, "list", "-m", "-f", "{{.Version}}", module]
            version = self._run(artifact, argv, required_by).strip()
        source = self._download(artifact, f"{module}@{version}", scratch)
        copy = scratch / "patched" / Path(module).name
        shutil.copytree(source, copy, copy_function=shutil.copyfile)
        for folder in (copy, *filter(Path.is_dir, copy.rglob("*"))):  # Go's cache is read-only
            folder.chmod(0o755)
        return copy

    def _download(self, artifact: Artifact, versioned: str, scratch: Path) -> Path:
        """The folder of a module in Go's cache, its sum checked. Raises ArtifactError."""
        argv = [self.environment.go, "mod", "download", "-json", versioned]
        printed = self._run(artifact, argv, scratch)
        found = re.search(r'"Dir": "(.+)"', printed)
        if not found:
            raise ArtifactError(
                f"cannot patch {versioned}: go mod download printed {printed.strip()}"
            )
        return Path(found[1])

    def _check(self, artifact: Artifact, folder: Path) -> None:
        for binary in artifact.binaries:
            self._run(artifact, [str(folder / binary), "--version"], folder)

    def _run(self, artifact: Artifact, argv: list[str], folder: Path) -> str:
        """Run one step of a build, reporting its output line by line, and return that.

        Raises ArtifactError.
        """
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
        return "".join(lines)

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


def _explain_failure(
    artifact: Artifact, argv: list[str], code: int, lines: list[str], log: Path
) -> str:
    tail = "".join(f"    {line}" for line in lines[-6:]).rstrip()
    text = "".join(lines)
    if any(sign in text for sign in NO_NETWORK):
        what = "a download failed; check the network"
    else:
        what = f"`{' '.join(argv[:2])} …` exited with status {code}"
    return (
        f"cannot build {artifact.name} {artifact.version}: {what}\n{tail}\n"
        f"    Complete output: {log}"
    )


def _write_module(artifact: Artifact, folder: Path) -> None:
    """Write a Go module that requires the artifact's."""
    text = f"module logstack/{artifact.name}\n\nrequire {artifact.required} v{artifact.version}\n"
    (folder / "go.mod").write_text(text, encoding="utf-8")
