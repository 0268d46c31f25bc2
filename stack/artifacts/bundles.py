"""Packs a program of many files into one file for hosts: the archiver with its packages, Grafana.

A bundle is `<name>.tar.gz` in the cache of artifacts; provisioning/remote.py unpacks it as `lib`
beside itself. Hosts need no internet access: the packages come from the control machine, for every
Python that a host may have, with the versions and hashes of requirements.lock.
"""

from __future__ import annotations

import gzip
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Collection, Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from stack.artifacts import ArtifactError, OnProgress
from stack.artifacts.lockfile import locked_packages
from stack.common import last_lines
from stack.settings import ROOT

# Of Debian 12 and 13, Ubuntu 24.04 and 26.04.
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# All packages that stack/archive/on_host.py imports, also indirectly.
PACKAGES = (
    *("annotated-types", "boto3", "botocore", "certifi", "cffi", "charset-normalizer"),
    *("cryptography", "idna", "jmespath", "orjson", "pycparser", "pydantic", "pydantic-core"),
    *("python-dateutil", "pyyaml", "requests", "s3transfer", "six", "typing-extensions"),
    *("typing-inspection", "urllib3", "zstandard"),
)
# What the archiver imports and reads: a change anywhere else does not make a new version of it.
BUNDLED_ROOMS = (
    "common",
    "archive",
    "engines",
    "records",
    "settings",
    "log_record.schema.json",
    "settings.toml",  # names the fields of the settings' tables
    "__init__.py",
)
SOURCES = ("*.py", "log_record.schema.json", "settings.toml")
MAIN = """\
import sys

from stack.archive.on_host import main

sys.exit(main(sys.argv[1:]))
"""
# The Python of hosts that the monitor needs; it needs no package.
MONITOR_PYTHON = (3, 9)
MONITOR_MAIN = MAIN.replace("stack.archive.on_host", "stack.monitor.__main__")
# botocore has data for every service of AWS; the archive uses S3 only.
OTHER_SERVICES = re.compile(r"botocore/data/(?!s3/)[^/]+/")
LEFT_OUT = re.compile(r"(^|/)(__pycache__|tests)/|\.pyi$|(^|/)\.lock$")


@cache
def archiver_key() -> str:
    """The version and a hash of all contents of the archiver's bundle."""
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    digest.update("\n".join((_locked(), *PYTHONS, platform.machine(), MAIN)).encode())
    digest.update(Path(__file__).read_bytes())
    return f"{version('logstack')}-{digest.hexdigest()[:12]}"


@cache
def monitor_key() -> str:
    """The version and a hash of all contents of the monitor's bundle."""
    digest = hashlib.sha256(MONITOR_MAIN.encode())
    for path in _monitor_sources():
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return f"{version('logstack')}-{digest.hexdigest()[:12]}"


def make_monitor(path: Path, on_progress: OnProgress) -> None:
    """Write the monitor's bundle."""
    on_progress("monitor", "packing")
    with TemporaryDirectory(prefix="logstack-bundle-") as scratch:
        lib = Path(scratch) / "lib"
        _copy(_monitor_sources(), lib)
        (lib / "__main__.py").write_text(MONITOR_MAIN, encoding="utf-8")
        pack(lib, path)


def make_archiver(path: Path, on_progress: OnProgress) -> None:
    """Write the archiver's bundle. Raises ArtifactError, which names the package that failed."""
    with TemporaryDirectory(prefix="logstack-bundle-") as scratch:
        folder = Path(scratch)
        lib = folder / "lib"
        requirements = folder / "requirements.txt"
        requirements.write_text(_locked(), encoding="utf-8")
        for python in PYTHONS:
            on_progress("archiver", f"packages for Python {python}")
            _install(requirements, folder / python, python)
            shutil.copytree(folder / python, lib, dirs_exist_ok=True)
        copy_sources(lib)
        (lib / "__main__.py").write_text(MAIN, encoding="utf-8")
        own = lib / f"logstack-{version('logstack')}.dist-info"
        own.mkdir()
        (own / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: logstack\nVersion: {version('logstack')}\n", "utf-8"
        )
        on_progress("archiver", "packing")
        pack(lib, path)


def copy_sources(lib: Path) -> None:
    """Copy the modules and data files of `stack` that the archiver needs."""
    _copy(_sources(), lib)


def _copy(sources: Iterable[Path], lib: Path) -> None:
    for source in sources:
        copy = lib / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)


def pack(folder: Path, path: Path, roots: Iterable[str] = ("",)) -> None:
    """Write the files of a folder as `lib`; the same files give the same bytes."""
    files = sorted(
        file
        for root in roots
        for file in (folder / root).rglob("*")
        if file.is_file() and not _is_left_out(file.relative_to(folder).as_posix())
    )
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for file in files:
            entry = tarfile.TarInfo(f"lib/{file.relative_to(folder).as_posix()}")
            entry.size = file.stat().st_size
            entry.mode = 0o755 if file.stat().st_mode & 0o100 else 0o644
            with file.open("rb") as content:
                tar.addfile(entry, content)


def repack(archive: Path, path: Path, roots: Collection[str]) -> set[str]:
    """Write a release's files below `roots` as `lib`, without the release's own top folder.

    Returns their names. Raises tarfile.TarError and OSError for an unreadable archive.
    """
    names = set()
    with (
        tarfile.open(archive) as source,
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for member in source:
            parts = PurePosixPath(member.name).parts[1:]
            name = "/".join(parts)
            if not member.isfile() or ".." in parts or _is_left_out(name):
                continue
            if parts and parts[0] in roots:
                entry = tarfile.TarInfo(f"lib/{name}")
                entry.size = member.size
                entry.mode = 0o755 if member.mode & 0o100 else 0o644
                tar.addfile(entry, source.extractfile(member))
                names.add(name)
    return names


def _is_left_out(name: str) -> bool:
    return bool(LEFT_OUT.search(name) or OTHER_SERVICES.search(name))


def _sources() -> list[Path]:
    """The files of the package `stack` that hosts need."""
    return sorted(
        path
        for pattern in SOURCES
        for path in (ROOT / "stack").rglob(pattern)
        if path.relative_to(ROOT / "stack").parts[0] in BUNDLED_ROOMS
    )


def _monitor_sources() -> list[Path]:
    stack = ROOT / "stack"
    rooms = (stack / "common", stack / "monitor")
    return [stack / "__init__.py", *(path for room in rooms for path in sorted(room.glob("*.py")))]


def _locked() -> str:
    """The part of requirements.lock about PACKAGES. Raises ArtifactError."""
    entries = locked_packages(PACKAGES)
    if absent := sorted(set(PACKAGES) - {entry.partition("==")[0] for entry in entries}):
        raise ArtifactError(
            f"cannot pack the archiver: requirements.lock lacks {', '.join(absent)}. Run: make lock"
        )
    return "".join(entries)


def _install(requirements: Path, folder: Path, python: str) -> None:
    """Unpack wheels for another Python than this one, without running any of their code."""
    machine = platform.machine()
    platforms = (f"manylinux_2_{minor}_{machine}" for minor in (17, 28))
    argv = [
        *(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"),
        *("--target", str(folder), "--no-deps", "--no-compile", "--only-binary", ":all:"),
        *("--python-version", python, "--implementation", "cp", "--require-hashes"),
        *(word for name in platforms for word in ("--platform", name)),
        *("-r", str(requirements)),
    ]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        tail = last_lines(result.stderr, 4)
        raise ArtifactError(f"cannot install the archiver's packages for Python {python}:\n{tail}")
