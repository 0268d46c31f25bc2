"""Times that a user types: what is refused, and what the refusal says."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from stack.cli.main import build_app
from tests.support.commands import command_names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["logs", "--level", "fatal"],
            "Invalid value for --level: expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL, "
            "got 'fatal'",
        ),
        (
            ["logs", "--since", "yesterday"],
            "Invalid value for --since: expected a duration such as 5m or 2h, or a time such as "
            "2026-01-31 or 2026-01-31T10:30, got 'yesterday'",
        ),
        (
            ["query", "*", "--until", "99999999d"],
            "Invalid value for --until: expected a duration such as 5m or 2h, or a time such as "
            "2026-01-31 or 2026-01-31T10:30, got '99999999d'",
        ),
    ],
)
def test_a_wrong_argument_says_what_is_expected(arguments: list[str], message: str) -> None:
    """Before anything is asked of the stack."""
    result = CliRunner().invoke(build_app(), arguments, env={"COLUMNS": "250", "TERM": "dumb"})
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


RANGES = [
    ("logs", "--since", "--until"),
    ("logs --follow", "--since", "--until"),
    ("query *", "--since", "--until"),
    ("report", "--since", "--until"),
    ("alerts try *", "--since", "--until"),
    ("archive verify", "--from", "--to"),
    ("archive search", "--from", "--to"),
    ("archive restore", "--from", "--to"),
    ("archive hold", "--from", "--to"),
]


@pytest.mark.parametrize(("command", "first", "second"), RANGES)
def test_a_start_after_the_end_is_refused(command: str, first: str, second: str) -> None:
    """And not reported as nothing found. What was typed can be typed the other way round."""
    arguments = [*command.split(), first, "5m", second, "1h"]
    result = CliRunner().invoke(build_app(), arguments, env={"COLUMNS": "250", "TERM": "dumb"})
    assert result.exit_code == 2
    text = " ".join(result.output.replace("│", " ").split())
    assert f"Invalid value for {first}, {second}: expected a start before the end, got 5m (" in text
    assert f"Use: {first} 1h {second} 5m" in text


@pytest.mark.parametrize(("command", "first", "second"), RANGES)
def test_a_time_range_without_a_moment_is_refused(command: str, first: str, second: str) -> None:
    """`logs --follow` alone may begin at its end: it goes on from there."""
    arguments = [*command.split(), first, "2026-01-31", second, "2026-01-31"]
    environ = {"COLUMNS": "250", "TERM": "dumb", "LOGSTACK_PORTS__OFFSET": "no number"}
    result = CliRunner().invoke(build_app(), arguments, env=environ)
    text = " ".join(result.output.replace("│", " ").split())
    refused = "got 2026-01-31 (2026-01-31 00:00:00) for both" in text
    assert refused is (command != "logs --follow")


def test_every_command_with_a_time_range_refuses_a_wrong_one() -> None:
    """A new one belongs into RANGES."""
    found = {
        name
        for name in command_names()
        for help_text in [CliRunner().invoke(build_app(), [*name.split(), "--help"]).output]
        if re.search(r"--(until|to)\b", help_text)
    }
    assert found == {re.sub(r" (\*|--follow)", "", command) for command, *_ in RANGES}
