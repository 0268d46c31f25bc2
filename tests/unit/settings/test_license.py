"""The licence of what this repository ships."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from stack.settings import ROOT


@pytest.mark.parametrize("folder", [".", "logstack_django"])
def test_a_package_has_its_licence(folder: str, tmp_path: Path) -> None:
    """Its metadata names Apache-2.0, and the full text is in it."""
    result = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT / folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        texts = {Path(name).name: name for name in archive.namelist() if "dist-info" in name}
        assert b"License-Expression: Apache-2.0\n" in archive.read(texts["METADATA"])
        licence = archive.read(texts["LICENSE"]).decode()
    assert licence == (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
