"""No secret of a running stack is in a command line, a setting or a file that others can read."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.settings.secrets import secrets_file
from tests.support.native_stack import StackUnderTest, processes_of

pytestmark = pytest.mark.native


@pytest.fixture
def values(stack: StackUnderTest) -> list[str]:
    """Every secret of the stack, and both halves of those that are `key:secret`."""
    known: dict[str, str] = json.loads(secrets_file(stack.target.data_dir).read_text("utf-8"))
    assert len(known) > 3
    return [part for text in known.values() for part in {text, text.rpartition(":")[2]}]


def files_of(stack: StackUnderTest) -> Iterator[Path]:
    """Everything in the run and data folders but the records."""
    for top in (stack.target.run_dir, stack.target.data_dir):
        for folder, _, names in os.walk(top):
            yield from (Path(folder) / name for name in names)


def test_no_command_line_has_a_secret(stack: StackUnderTest, values: list[str]) -> None:
    """Every user of the machine can read those, in /proc."""
    running = processes_of(stack)
    assert len(running) > 5
    for process in running:
        words = Path(f"/proc/{process.pid}/cmdline").read_text("utf-8", "replace")
        assert not any(value in words for value in values), process.name()
        assert stat.S_IMODE(Path(f"/proc/{process.pid}/environ").stat().st_mode) == 0o400


def test_files_with_secrets_are_of_mode_0600(stack: StackUnderTest, values: list[str]) -> None:
    """Wherever they are rendered; and no other user enters the folders of the stack."""
    with_secrets = []
    for path in files_of(stack):
        if not path.is_file() or path.stat().st_size > 1_000_000:
            continue
        text = path.read_bytes()
        if any(value.encode() in text for value in values):
            with_secrets.append(path)
    assert secrets_file(stack.target.data_dir) in with_secrets
    wide = [path for path in with_secrets if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert wide == []
    tops = (stack.target.run_dir, stack.target.data_dir)
    assert {stat.S_IMODE(top.stat().st_mode) for top in tops} == {0o700}


def test_no_command_prints_a_secret(stack: StackUnderTest, values: list[str]) -> None:
    """Neither all settings, nor the state of the stack, nor the log of a component."""
    shown = "".join(
        result.stdout + result.stderr
        for words in (("settings",), ("settings", "--json"), ("status",), ("doctor",))
        for result in [stack.run(*words)]
    )
    shown += "".join(
        path.read_text("utf-8", "replace") for path in stack.target.run_dir.rglob("*.log")
    )
    assert [value for value in values if value in shown] == []


def test_an_address_in_the_place_of_a_file_is_not_repeated(stack: StackUnderTest) -> None:
    """The likeliest mistake: what Slack gives, typed where the name of its file belongs."""
    secret = "notsosecret0123456789abcdef01234"
    typed = {
        "SLACK_WEBHOOK_FILE": f"https://hooks.slack.com/services/T/B/{secret}",
        "SLACK_TOKEN_FILE": f"xoxb-1-{secret}",
        "PAGERDUTY_KEY_FILE": secret,
        "OPSGENIE_KEY_FILE": secret,
        "TEAMS_WEBHOOK_FILE": f"https://x.logic.azure.com/workflows/{secret}",
        "DISCORD_WEBHOOK_FILE": f"https://discord.com/api/webhooks/1/{secret}",
        "TELEGRAM_TOKEN_FILE": f"123456789:{secret}",
        "WEBHOOK_URL_FILE": f"https://example.com/{secret}",
        "SMTP_PASSWORD_FILE": secret,
        "DEADMAN_URL_FILE": f"https://hc-ping.com/{secret}",
    }
    for key, text in typed.items():
        extra = {f"LOGSTACK_RECEIVERS__{key}": text}
        for words in (("alerts", "lint"), ("settings",), ("settings", "--json")):
            result = stack.run(*words, extra=extra)
            assert result.returncode != 0, (key, words)
            assert secret not in result.stdout + result.stderr, (key, words)


def test_a_report_is_private(stack: StackUnderTest, tmp_path: Path) -> None:
    """It has records; and git does not take it."""
    path = tmp_path / "report.html"
    result = stack.run("report", "--since", "5m", "--out", str(path))
    assert result.returncode == 0, result.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ignored = Path(__file__).parents[2] / ".gitignore"
    assert "report*.html" in ignored.read_text("utf-8").splitlines()
