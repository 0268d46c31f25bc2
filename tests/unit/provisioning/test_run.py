"""What is asked of a host, and what becomes of an answer that does not come."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from paramiko import SSHException
from pyinfra.api.host import Host

from provisioning import DeployError, run
from provisioning.run import ASK_SECONDS, Session


class Line:
    """A connection that remembers what was asked, or breaks; answers are what the host printed."""

    def __init__(self, answer: str | Exception) -> None:
        self.answer = answer
        self.asked: dict[str, Any] = {}
        self.state = None

    def run_shell_command(self, command: object, **options: Any) -> tuple[bool, Any]:
        self.asked = options
        if isinstance(self.answer, Exception):
            raise self.answer
        return True, type("Output", (), {"stdout": self.answer, "stderr": ""})


@pytest.fixture(autouse=True)
def arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyinfra's own, which it takes from its state."""
    monkeypatch.setattr(run, "pop_global_arguments", lambda *_: ({"_sudo": True}, []))


def session(line: Line) -> Session:
    return Session(cast(Host, line), "/run/agent.pyz")


def test_an_action_that_waits_has_that_much_more_time() -> None:
    """A service may take `timing.start_timeout`; the connection is not given up before."""
    line = Line('{"ok": true}')
    assert session(line).ask("probe", name="loki", timeout=600.0)["ok"]
    assert line.asked["_timeout"] == ASK_SECONDS + 600
    assert json.loads(line.asked["_stdin"])["timeout"] == 600


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (TimeoutError(), "no answer in time"),
        (SSHException("SSH session not active"), "SSH session not active"),
        (EOFError(), r"connection lost \(EOFError\)"),
        ("Welcome\n", "probe: expected JSON, got Welcome"),
        ("", "probe: expected JSON, got nothing"),
    ],
)
def test_no_answer_is_an_error_that_says_so(answer: str | Exception, expected: str) -> None:
    """One that a deploy takes as a failure of this host, after which it rolls back and unlocks."""
    with pytest.raises(DeployError, match=expected):
        session(Line(answer)).ask("probe", name="loki")


def test_only_a_process_of_this_machine_is_known_to_have_ended() -> None:
    """Not one of another start, of another container or of a system without /proc."""
    *place, own = run._process()
    ended = 2**22 + 1  # above every process id (proc_sys_kernel(5): pid_max)
    assert run._has_ended([*place, ended])
    assert not run._has_ended([*place, own])
    assert not run._has_ended(["another", *place[1:], ended])
    assert not run._has_ended([place[0], 1, ended])
    assert not run._has_ended([])
    assert not run._has_ended(None)
