"""Grafana in the native runtime, where one is on PATH."""

from __future__ import annotations

import shutil
import stat
import subprocess

import pytest
import requests

from dashboards.pages import PAGES
from stack.components.grafana_links import uid
from stack.settings import variable_name
from stack.settings.secrets import GRAFANA_PASSWORD, grafana_secrets, secrets_file
from tests.support.native_stack import StackUnderTest, poll
from tests.support.require import unavailable

pytestmark = pytest.mark.native


@pytest.fixture
def with_grafana(own_stack: StackUnderTest) -> StackUnderTest:
    """The default stack and the Grafana that is installed here, whatever its version."""
    program = shutil.which("grafana")
    if program is None:
        unavailable("grafana", "grafana is not on PATH")
    printed = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    own_stack.variables[variable_name("versions", "grafana")] = printed.stdout.split()[-1]
    own_stack.variables[variable_name("stack", "grafana")] = "on"
    own_stack.up()
    return own_stack


def test_grafana_is_a_component_like_the_others(with_grafana: StackUnderTest) -> None:
    """Healthy, with our files, behind a password that only its owner can read."""
    stack = with_grafana
    assert stack.statuses()["grafana"]["state"] == "healthy"
    password = grafana_secrets(stack.target.data_dir)[GRAFANA_PASSWORD]
    assert stat.S_IMODE(secrets_file(stack.target.data_dir).stat().st_mode) == 0o600

    def ask(path: str) -> list[dict[str, str]]:
        url = stack.target.url("grafana", path)
        answer = requests.get(url, auth=("admin", password), timeout=10)
        answer.raise_for_status()
        found: list[dict[str, str]] = answer.json()
        return found

    sources = {item["uid"]: item["url"] for item in ask("/api/datasources")}
    assert sources == {
        "victorialogs": stack.target.url("victorialogs"),
        "victorialogs-restored": stack.target.url("restored"),
        "alertmanager": stack.target.url("alertmanager"),
    }
    expected = {uid(page.name, "victorialogs") for page in PAGES}
    poll(
        lambda: expected <= {item["uid"] for item in ask("/api/search?type=dash-db")},
        lambda: f"{expected}\n{stack.logs()}",
    )
    again = stack.run("up")
    assert "nothing changed" in again.stdout, again.stderr
    assert password not in again.stdout + again.stderr


def test_a_grafana_that_is_not_installed_is_named(own_stack: StackUnderTest) -> None:
    """With the version that was expected, and before anything is started."""
    own_stack.variables[variable_name("versions", "grafana")] = "0.0.1"
    own_stack.variables[variable_name("stack", "grafana")] = "on"
    result = own_stack.run("up")
    assert result.returncode == 1
    assert "grafana: expected the program `grafana` of version 0.0.1 on PATH" in result.stderr
    assert f"{variable_name('stack', 'grafana')}=off" in result.stderr
    assert "Traceback" not in result.stderr
