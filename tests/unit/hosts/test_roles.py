"""What is asked of a host, and what becomes of an answer that does not come."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest
from paramiko import SSHException
from pyinfra.api.host import Host

from provisioning import DeployError
from provisioning.fleet import ASK_SECONDS, Fleet, Remote
from tests.support.example import settings_with


class Line:
    """A connection that remembers what was asked, or breaks; answers are what the host printed."""

    def __init__(self, answer: str | Exception) -> None:
        self.answer = answer
        self.asked: dict[str, Any] = {}

    def run_shell_command(self, command: object, **options: Any) -> tuple[bool, Any]:
        self.asked = options
        if isinstance(self.answer, Exception):
            raise self.answer
        return True, type("Output", (), {"stdout": self.answer, "stderr": ""})


def remote(line: Line) -> Remote:
    return Remote("logs-1", cast(Host, line))


def test_an_action_that_waits_has_that_much_more_time() -> None:
    """A service may take `timing.start_timeout`; the connection is not given up before."""
    line = Line('{"ok": true}')
    assert remote(line).ask("probe", name="loki", timeout=600.0)["ok"]
    assert line.asked["_timeout"] == ASK_SECONDS + 600
    assert json.loads(line.asked["_stdin"])["timeout"] == 600


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (TimeoutError(), "logs-1: probe: no answer in time"),
        (SSHException("SSH session not active"), "logs-1: probe: SSH session not active"),
        (EOFError(), r"logs-1: probe: connection lost \(EOFError\)"),
        ("Welcome\n", "logs-1: probe: expected JSON, got Welcome"),
        ("", "logs-1: probe: expected JSON, got nothing"),
    ],
)
def test_no_answer_is_an_error_that_says_so(answer: str | Exception, expected: str) -> None:
    """One that a deploy takes as a failure of this host, after which it rolls back and unlocks."""
    with pytest.raises(DeployError, match=expected):
        remote(Line(answer)).ask("probe", name="loki")


def test_a_key_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before that host is connected to; the others are."""
    monkeypatch.setenv("HOME", str(tmp_path))
    lost = {"address": "127.0.0.1", "roles": ["log_server"], "ssh_key": str(tmp_path / "no-key")}
    expected = f"hosts.logs-1.ssh_key: expected a readable file, got {tmp_path / 'no-key'}"
    closed = {"address": "127.0.0.1", "ssh_port": 9, "roles": ["app_host"]}
    with Fleet(settings_with(hosts={"logs-1": lost, "app-1": closed})) as fleet:
        assert fleet.unreachable["logs-1"] == expected
        assert "app-1" in fleet.unreachable
    with (
        pytest.raises(DeployError, match=re.escape(expected)),
        Fleet(settings_with(hosts={"logs-1": lost})),
    ):
        pass
