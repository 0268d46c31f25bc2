"""A stack in a shell, on a machine or as a user that is unlike the developer's."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from stack.settings import ROOT, variable_name
from tests.support.native_stack import StackUnderTest, logstack_argv, processes_of

pytestmark = pytest.mark.native


def test_variables_for_other_programs_change_nothing(
    own_stack: StackUnderTest, tmp_path: Path
) -> None:
    """Those of a Django project, of a machine behind a proxy, of a cloud account, of gunicorn."""
    (tmp_path / "modules").mkdir()
    for name in ("django", "requests", "stack"):
        (tmp_path / "modules" / f"{name}.py").write_text("raise SystemExit('wrong module')\n")
    proxy = "http://127.0.0.1:9"
    foreign = {
        "DJANGO_SETTINGS_MODULE": "my.settings",
        "PYTHONPATH": str(tmp_path / "modules"),
        "GUNICORN_CMD_ARGS": "--bind=127.0.0.1:1",
        "AWS_PROFILE": "nobody",
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "ALL_PROXY"), proxy),
        "no_proxy": "example.com",
    }
    launcher = subprocess.run(
        [str(ROOT / "logstack"), "up"],
        env={**own_stack.environ, **foreign},
        capture_output=True,
        text=True,
        check=False,
    )
    assert launcher.returncode == 0, launcher.stdout + launcher.stderr
    for command in (
        ("status",),
        ("smoke",),
        ("logs",),
        ("alerts", "list"),
        ("doctor",),
        ("archive", "run", "--now"),
        ("archive", "verify"),
        ("traffic", "--duration", "1"),
    ):
        result = own_stack.run(*command, extra={**foreign, "PYTHONPATH": ""})
        assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network without IPv4")
def test_a_machine_without_ipv4_is_told_what_is_missing(own_stack: StackUnderTest) -> None:
    """Its loopback has ::1 alone."""
    unshare = [
        *("unshare", "--net", "--", "sh", "-c"),
        'ip link set lo up && ip address del 127.0.0.1/8 dev lo; exec "$@"',
        "sh",
    ]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine allows no network namespace")
    result = subprocess.run(
        [*unshare, *logstack_argv("up")],
        env=own_stack.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "cannot listen on 127.0.0.1: cannot assign requested address." in result.stderr
    assert "ip address add 127.0.0.1/8 dev lo" in result.stderr
    assert processes_of(own_stack) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a program as another user")
def test_a_user_without_a_home_is_told_to_name_a_cache(own_stack: StackUnderTest) -> None:
    """As the user of a service, whom the list of users does not name either."""
    without_home = {k: v for k, v in own_stack.environ.items() if k not in ("HOME", "USER")}
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        without_home |= {
            variable_name("paths", name): f"{folder}/{name}" for name in ("run", "data")
        }
        refuse_without_cache(without_home)


def refuse_without_cache(without_home: dict[str, str]) -> None:
    argv = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", *logstack_argv("up")]
    readable = subprocess.run([*argv[:4], "test", "-r", str(ROOT)], check=False)
    if readable.returncode != 0:
        pytest.skip("the checkout is private to root")
    refused = subprocess.run(argv, env=without_home, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "paths.cache: expected a folder for built programs" in refused.stderr
    assert "got none, as HOME is not set" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_variables_of_make_and_of_the_launcher_choose_the_runtime(
    own_stack: StackUnderTest,
) -> None:
    """RUNTIME ranks above the setting, here natively where the setting demands Docker."""
    extra = {variable_name("stack", "runtime"): "docker", "RUNTIME": "native"}
    result = own_stack.run("up", extra=extra)
    assert result.returncode == 0, result.stderr
    assert own_stack.run("status").returncode == 0
