"""The package as an application installs it: its files, its types, its README."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from logstack_django.fields import FIELD_ORDER
from logstack_django.options import Options

from tests.library.support import ROOT

README = (ROOT / "logstack_django" / "README.md").read_text(encoding="utf-8")
ADOPTER = """
import logging
import logstack_django
from logstack_django.testing import assert_logged, capture_logs

LOGGING = logstack_django.logging_config("erp", environment="dev", handlers={})
logger = logging.getLogger(__name__)

@logstack_django.background_job("nightly")
def nightly(count: int) -> int:
    with logstack_django.timed("step", logger), logstack_django.context(plan="pro"):
        logstack_django.bind(organization_id=7)
        logstack_django.log_event(logger, "done", "Done %d", count)
    headers: dict[str, str] = logstack_django.outgoing_headers()
    return count + len(headers)

result: int = nightly(3)
with capture_logs() as logs:
    assert_logged(logs, count=0)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT / "logstack_django",
        check=True,
        capture_output=True,
    )
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_has_everything_that_an_application_needs(wheel: Path) -> None:
    """Types, licence, the command, the plugin for pytest."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith("METADATA"))
        text = archive.read(metadata).decode()
    assert "logstack_django/py.typed" in names
    assert "logstack_django/sources/django.py" in names
    assert "logstack_django/management/commands/logstack_example.py" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("entry_points.txt") for name in names)
    assert "Framework :: Django :: 6.1" in text
    assert "Typing :: Typed" in text


def test_the_types_hold_in_an_application(wheel: Path, tmp_path: Path) -> None:
    """Under mypy --strict, with the installed wheel."""
    pytest.importorskip("mypy")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "adopter.py").write_text(ADOPTER)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "adopter.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(tmp_path / "site"), "PATH": ""},
        capture_output=True,
        check=False,
        timeout=280,
    )
    assert "adopter.py" not in done.stdout.decode(), done.stdout.decode()


def test_the_readme_names_every_field() -> None:
    """And where the settings are explained, which explain every one."""
    assert [name for name in FIELD_ORDER if f"`{name}`" not in README] == []
    explained = Options.__doc__ or ""
    assert [
        field.name for field in dataclasses.fields(Options) if field.name not in explained
    ] == []
