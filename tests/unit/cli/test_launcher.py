"""The launcher: its environment, its errors, and a reader that ends early."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from stack.settings import ROOT


def test_the_launcher_reports_a_wrong_setting_in_one_line(own_folders: Path) -> None:
    """No traceback reaches a user, from whichever directory it is called."""
    done = subprocess.run(
        [str(ROOT / "logstack"), "status"],
        env={**os.environ, "LOGSTACK_PORTS__OFSET": "1"},
        cwd=own_folders,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "ports.ofset: unknown setting (from the environment). "
        "Did you mean ports.offset? `./logstack settings` lists all settings.\n"
    )


@pytest.mark.parametrize("name", [".venv", ".venv-other"])
def test_the_launcher_leaves_a_linked_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It would empty that of the checkout to which the link leads."""
    if name != ".venv":
        monkeypatch.setenv("LOGSTACK_VENV", str(tmp_path / name))
    shutil.copy(ROOT / "logstack", tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (tmp_path / name).symlink_to(elsewhere)
    argv = [str(tmp_path / "logstack"), "--prepare"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "got a link" in done.stderr
    assert [path.name for path in elsewhere.iterdir()] == ["kept"]


@pytest.mark.usefixtures("own_folders")
def test_a_reader_that_has_read_enough_is_no_error() -> None:
    """`logstack settings | head -1` ends well, also under `set -o pipefail`."""
    line = f"set -o pipefail; '{ROOT}/logstack' settings | true"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def run_launcher(argv: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **environ}
    return subprocess.run(argv, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("own_folders")
def test_modules_of_other_programs_are_not_imported(tmp_path: Path) -> None:
    """PYTHONPATH and PYTHONHOME may be set for an application."""
    for name in ("typer", "stack", "django"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('wrong module')\n")
    done = run_launcher(
        [str(ROOT / "logstack"), "down"], PYTHONPATH=str(tmp_path), PYTHONHOME=str(tmp_path)
    )
    assert (done.returncode, done.stderr) == (0, "Nothing was running.\n")


@pytest.mark.usefixtures("own_folders")
def test_the_launcher_finds_its_checkout_whatever_cd_prints() -> None:
    """With CDPATH, `cd` prints the folder."""
    command = ["sh", "-c", f"cd '{ROOT.parent}' && '{ROOT.name}/logstack' down"]
    done = run_launcher(command, CDPATH=str(ROOT.parent))
    assert (done.returncode, done.stderr) == (0, "Nothing was running.\n")


def test_a_python_that_does_not_run_is_named(tmp_path: Path) -> None:
    """The message says which variable names it."""
    shutil.copy(ROOT / "logstack", tmp_path)
    argv = [str(tmp_path / "logstack"), "--prepare"]
    done = run_launcher(argv, LOGSTACK_PYTHON="/nonexistent")
    assert done.returncode == 1
    expected = "LOGSTACK_PYTHON: expected the path of Python 3.11 or newer, got /nonexistent.\n"
    assert expected in done.stderr


def test_a_checkout_that_cannot_be_written_to_needs_an_environment_elsewhere() -> None:
    """As one of another user, or on a read-only file system."""
    done = run_launcher([str(ROOT / "logstack"), "--prepare"], LOGSTACK_VENV="/proc/venv")
    assert done.returncode == 1
    assert done.stderr.startswith("cannot write to /proc/venv.lock: the checkout is read-only or")
    assert "Run: LOGSTACK_VENV=/some/folder/venv " in done.stderr


def test_make_works_whatever_the_path_of_the_checkout(tmp_path: Path) -> None:
    """And passes RUNTIME and the answer of `clean` on."""
    folder = tmp_path / "a$HOME 'b &c"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    launcher = folder / "logstack"
    launcher.write_text('#!/bin/sh\necho "$0|$*|$RUNTIME"\n')
    launcher.chmod(0o755)
    for place in (["-C", str(folder)], ["-f", str(folder / "Makefile")]):
        done = run_launcher(["make", "--silent", *place, "RUNTIME=docker", "clean", "YES=1"])
        assert done.stdout == f"{launcher}|clean --yes|docker\n", done.stderr
