"""Fetches released archives: settings.releases, each checked against settings.release_sums.

stack/artifacts/ tries it for programs that are neither built here nor on PATH nor on a mirror.
"""

from __future__ import annotations

import platform
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp

import requests

from stack.artifacts.artifact import ArtifactError, OnProgress, find
from stack.artifacts.mirror import TIMEOUT, save
from stack.common import exclusive_lock
from stack.components.catalogue import by_name
from stack.components.component import Artifact
from stack.settings import Settings

# By the kernel's name of an architecture: that in the names of released files.
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Release:
    """A released archive. `sha256` is its sum, which `setting` pins; empty: it is not pinned."""

    name: str
    version: str
    url: str
    sha256: str
    setting: str


def is_released_alone(name: str, settings: Settings) -> bool:
    """Whether a program is released as a zip archive of one file, as Loki's programs are."""
    return str(getattr(settings.releases, name, "")).endswith(".zip")


def release_of(name: str, settings: Settings) -> Release:
    """The archive of a program of settings.releases for this machine."""
    pattern: str = getattr(settings.releases, name)
    machine = MACHINES.get(platform.machine(), platform.machine())
    version = settings.versions[name]
    url = pattern.replace("{version}", version).replace("{machine}", machine)
    key = f"{name}_{machine}"
    return Release(
        name, version, url, getattr(settings.release_sums, key, ""), f"release_sums.{key}"
    )


def fetch_program(
    release: Release, artifact: Artifact, cache: Path, on_progress: OnProgress
) -> Path:
    """The folder in the cache with the program of a zip archive. Raises ArtifactError."""
    (binary,) = artifact.binaries
    home = cache / artifact.name
    home.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(home / ".lock"):
        if folder := find(artifact, cache):  # another process has fetched it
            return folder
        for leftover in home.glob(".unpacking-*"):  # of a fetch that was interrupted
            shutil.rmtree(leftover, ignore_errors=True)
        scratch = Path(mkdtemp(prefix=".unpacking-", dir=home))
        try:
            archive = scratch / "archive"
            download(release, archive, on_progress)
            _unpack(release, archive, scratch / binary)
            archive.unlink()
            scratch.chmod(0o755)
            shutil.rmtree(home / artifact.key, ignore_errors=True)
            scratch.rename(home / artifact.key)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return home / artifact.key


def download(release: Release, path: Path, on_progress: OnProgress) -> None:
    """Write the archive to `path`. Raises ArtifactError unless its sum is the pinned one."""
    sum_command = f"curl -fsSL {release.url} | sha256sum"
    if not release.sha256:
        raise refusal(
            release,
            f"{release.setting} has no sha256 of {release.url}. Set it to the sum that the release "
            "publishes, which the command has to print as well",
            sum_command,
        )
    on_progress(release.name, "fetching the release")
    try:
        with requests.get(release.url, timeout=TIMEOUT, stream=True) as answer:
            answer.raise_for_status()
            digest = save(answer, path)
    except requests.RequestException as error:
        text = f"{release.url} cannot be downloaded: {error}"
        raise refusal(release, text, f"curl -fLO {release.url}") from None
    if digest != release.sha256:
        text = (
            f"{release.url}: expected sha256 {release.sha256}, as in {release.setting}, got "
            f"{digest}. Each version has its own sum"
        )
        raise refusal(release, text, sum_command)


def refusal(release: Release, cause: str, command: str) -> ArtifactError:
    """Why a program cannot be provided, and what else the operator can do."""
    return ArtifactError(
        f"cannot fetch {release.name} {release.version}: PATH has no program of this version, and "
        f"{cause}. To do without it: {by_name(release.name).instead}. Run: {command}"
    )


def _unpack(release: Release, archive: Path, program: Path) -> None:
    """The archive's program, which has the archive's name: `loki-linux-amd64`."""
    member = PurePosixPath(release.url).stem
    try:
        with (
            zipfile.ZipFile(archive) as packed,
            packed.open(member) as source,
            program.open("wb") as file,
        ):
            shutil.copyfileobj(source, file)
    except (KeyError, zipfile.BadZipFile) as error:
        text = f"{release.url}: expected a zip archive with {member}, got: {error}"
        raise refusal(release, text, f"curl -fLO {release.url}") from None
    program.chmod(0o755)
