"""The page docs/log-from-django.md: its project is built and its tests are run."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
from logstack_django.options import Options

import logstack_django
from tests.library.support import ROOT, Record, child_environment, parse

PAGE = (ROOT / "docs" / "log-from-django.md").read_text(encoding="utf-8")
CONFTEST = """
import django, pytest
from django.test import Client
django.setup()

@pytest.fixture
def client():
    return Client()
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every file that the page shows."""
    folder = tmp_path_factory.mktemp("page")
    for name, code in re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        (folder / name).write_text(code)
    (folder / "conftest.py").write_text(CONFTEST)
    return folder


def run(project: Path, *arguments: str) -> bytes:
    """Run Python in the project; its output."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env=child_environment({"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(project)}),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout


def test_the_project_of_the_page_passes_its_own_tests(project: Path) -> None:
    """And Django's system checks, warnings included."""
    run(project, "-m", "django", "check", "--fail-level", "WARNING")
    output = run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", ".").decode()
    assert "3 passed" in output


def test_the_example_command_works_in_the_project_of_the_page(project: Path) -> None:
    """Every line is valid by the contract."""
    lines = run(project, "-m", "django", "logstack_example").splitlines(keepends=True)
    records: list[Record] = [parse(line) for line in lines]
    assert {record["service_name"] for record in records} == {"erp-backend-api"}
    assert len(records) > 8


def test_the_page_names_every_setting_with_its_default() -> None:
    """In the order of the arguments."""
    table = PAGE.partition("## Settings")[2].partition("## Servers")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE))
    assert list(rows) == [field.name for field in dataclasses.fields(Options)]
    special = {
        "service": "required",
        "levels": '`{"": "INFO"}`',
        "path": "none",
        "username_field": "none",
    }
    for name, value in Options().as_mapping().items():
        shown = rows[name].strip()
        if name in special:
            assert shown == special[name]
        elif isinstance(value, list):
            assert shown == (", ".join(f"`{item}`" for item in value) or "none")
        elif isinstance(value, bool):
            assert shown == str(value).lower()
        elif isinstance(value, float):
            assert float(shown) == value
        else:
            assert shown.strip("`") == str(value)


def test_the_page_names_every_public_function() -> None:
    """Those that the package exports."""
    for name in logstack_django.__all__:
        assert re.search(rf"\b{name}\b", PAGE), name
