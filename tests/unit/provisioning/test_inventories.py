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


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_pyinfra_reads_the_inventory(environment: str) -> None:
    """Every host of the settings with its groups; those of roles that nobody was given as well."""
    pyinfra = Path(sys.executable).with_name("pyinfra")
    inventory = f"provisioning/inventories/{environment}.py"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LOGSTACK_")}
    result = subprocess.run(
        [str(pyinfra), "-y", inventory, "debug-inventory"],
        cwd=ROOT, env=inherited, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    text = result.stdout + result.stderr
    assert result.returncode == 0, text
    groups = dict(re.findall(r"\[(\S+)\].*?\n.*?Groups: ([^\n]*)\n", text))
    assert list(groups) == list(settings.load_for_hosts(environment, {}).hosts)
    assert {"log_servers", "alerting", "archive", "dashboards"} <= set(groups["logs-1"].split(", "))
    assert "app_hosts" in groups["app-2"].split(", ")
    assert "log_servers" not in groups["app-2"].split(", ")
