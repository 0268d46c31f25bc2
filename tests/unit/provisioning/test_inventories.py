"""The inventories as pyinfra's own command reads them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stack import settings
from stack.settings import ROOT

FILES = [
    path
    for path in sorted((ROOT / "provisioning").rglob("*.py"))
    if path.parent.name != "inventories"
]


def pyinfra(*arguments: str, folder: Path = ROOT) -> tuple[int, str]:
    """The status and the output of pyinfra's own command."""
    command = Path(sys.executable).with_name("pyinfra")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LOGSTACK_")}
    result = subprocess.run(
        [str(command), "-y", *arguments],
        cwd=folder, env=inherited, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_pyinfra_reads_the_inventory(environment: str) -> None:
    """Every host of the settings with its groups; also the groups of roles without hosts."""
    status, text = pyinfra(f"provisioning/inventories/{environment}.py", "debug-inventory")
    assert status == 0, text
    groups = dict(re.findall(r"\[(\S+)\].*?\n.*?Groups: ([^\n]*)\n", text))
    assert list(groups) == list(settings.load_for_hosts(environment, {}).hosts)
    assert {"log_servers", "alerting", "archive", "dashboards"} <= set(groups["logs-1"].split(", "))
    assert "app_hosts" in groups["app-2"].split(", ")
    assert "log_servers" not in groups["app-2"].split(", ")


# What pyinfra's command does with each file, in one process; prints those that are not refused.
EXECUTE = """
import sys
from pyinfra.api.exceptions import PyinfraError
for name in sys.argv[1:]:
    try:
        exec(compile(open(name).read(), name, "exec"), {"__file__": name})
    except PyinfraError as error:
        assert "Run: make plan ENV=staging, then make deploy ENV=staging" in str(error)
    else:
        print(name)
"""


def test_none_of_the_files_is_taken_as_a_deploy() -> None:
    """They have no operations: a run of them would change nothing and report success."""
    result = subprocess.run(
        [sys.executable, "-c", EXECUTE, *map(str, FILES)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert len(FILES) > 15


@pytest.mark.parametrize("file", ["deploy.py", "deploys/service.py"])
@pytest.mark.parametrize("flags", [(), ("--dry",)], ids=["run", "dry"])
def test_pyinfra_refuses_them_in_one_sentence(
    file: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    """From any directory; the status says so too."""
    status, text = pyinfra(*flags, "@local", str(ROOT / "provisioning" / file), folder=tmp_path)
    assert status != 0, text
    assert "cannot deploy with pyinfra's own command" in text
    assert "Traceback" not in text


def test_pyinfra_refuses_them_inside_another_deploy(tmp_path: Path) -> None:
    """A deploy file that includes one of ours."""
    deploy, other = ROOT / "provisioning" / "deploy.py", tmp_path / "other.py"
    other.write_text(f"from pyinfra import local\nlocal.include({str(deploy)!r})\n")
    status, text = pyinfra("@local", str(other), folder=tmp_path)
    assert (status != 0, "make deploy ENV=staging" in text) == (True, True), text


def test_pyinfra_runs_a_command_on_its_hosts_still() -> None:
    """The inventories are for that."""
    status, text = pyinfra("@local", "exec", "--", "true")
    assert status == 0, text
