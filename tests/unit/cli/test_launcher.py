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
