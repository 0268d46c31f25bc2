"""What is asked of a host, and what becomes of an answer that does not come."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any, cast

import pytest
from paramiko import SSHException
from pyinfra.api.config import Config
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State

from provisioning import DeployError, run
from provisioning import session as session_module
from provisioning.operations import commands, components
from provisioning.session import ASK_SECONDS, Session


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
    monkeypatch.setattr(session_module, "pop_global_arguments", lambda *_: ({"_sudo": True}, []))


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


def run_on(*names: str, unreachable: str = "") -> run.Run:
    """A run on hosts that have a session each, of which the first is the log server."""
    state = State(Inventory((list(names), {})), Config())
    this = run.Run(state)
    this.report.servers = names[:1]
    this.report.unreachable = {unreachable: "no"} if unreachable else {}
    state.failed_hosts = {state.inventory.get_host(name) for name in this.report.unreachable}
    return this


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a run replaces, and no report at the end of the tests."""
    monkeypatch.setattr("atexit.register", lambda _: None)
    before = {number: signal.getsignal(number) for number in run.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize(
    ("unreachable", "untouched", "failed"),
    [("logs", "Nothing", True), ("app", "Nothing", False), ("logs", "", False), ("", "x", False)],
)
def test_without_its_log_server_a_deploy_changes_nothing(
    unreachable: str, untouched: str, failed: bool
) -> None:
    """An application host that is not reachable leaves the others alone; so do checks."""
    this = run_on("logs", "app", unreachable=unreachable)
    this.report.untouched = untouched
    assert this.failed() == failed


@pytest.mark.usefixtures("signals")
def test_a_dry_run_detects_changes_also_with_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    for flags, expected in ((["-y"], False), (["-y", "--dry"], True)):
        monkeypatch.setattr("sys.argv", ["pyinfra", *flags])
        state = State(Inventory((["app"], {})), Config(), check_for_changes=False)
        run.Run(state)
        assert state.check_for_changes == expected


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize(
    ("logs", "app", "continued"),
    [(("1", "1"), ("", ""), True), (("1", "1"), ("2", ""), False), (("2", ""), ("2", ""), False)],
)
def test_a_deploy_continues_the_one_that_did_not_end(
    logs: tuple[str, str], app: tuple[str, str], continued: bool
) -> None:
    """Unless a host was changed by a later run, which a rollback would then take for the last."""
    this = run_on("logs", "app")
    this.report.counts = True
    for name, (newest, unfinished) in (("logs", logs), ("app", app)):
        before = {"newest": newest, "unfinished": unfinished}
        host = this.state.inventory.get_host(name)
        this.sessions[name] = Session(host, "", locked=True, before=before)
    this._continue_unfinished()
    assert (this.id == "1") == continued


@pytest.mark.usefixtures("signals")
def test_a_failed_upload_names_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes through a folder of which preflight checks the free space."""
    this = run_on("app")
    monkeypatch.setattr(commands, "current_run", lambda: this)
    host = this.state.inventory.get_host("app")

    def refuse(*arguments: object, **named: object) -> bool:
        raise OSError("No space left on device")

    monkeypatch.setattr(host, "put_file", refuse)
    upload = commands.Upload("loki", "/opt/logstack/.upload/1", f"{components.SCRATCH}-1")
    assert not upload.execute(this.state, host, {})
    expected = "cannot upload loki to /var/tmp/logstack-1: No space left on device"
    assert this.report.failures["app"][0].startswith(expected)
