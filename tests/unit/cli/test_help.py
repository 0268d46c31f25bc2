"""The list of commands, their help, and completion."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from stack.cli.main import build_app
from tests.support.commands import command_names

COMMANDS = ["clean", "down", "logs", "query", "settings", "smoke", "status", "traffic", "up"]


def test_these_are_the_commands() -> None:
    """A new one has to be added here, and gets the tests below."""
    assert [name for name in COMMANDS if name not in command_names()] == []


@pytest.mark.parametrize("name", command_names())
def test_the_help_of_every_command_shows_an_example(name: str) -> None:
    """It begins with the command's own name, or sets a variable for it."""
    result = CliRunner().invoke(build_app(), [*name.split(), "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    (example,) = [line for line in result.output.splitlines() if "Example:" in line]
    assert f"logstack {name}" in example


def test_help_lists_every_command_with_a_sentence() -> None:
    """`logstack` alone is help, too."""
    result = CliRunner().invoke(build_app(), ["-h"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for name in {name.split()[0] for name in command_names()}:
        assert any(f" {name} " in line and "." in line for line in result.output.splitlines()), name
    alone = CliRunner().invoke(build_app(), [], env={"COLUMNS": "200"})
    assert alone.output.strip() == result.output.strip()


def test_help_and_completion_import_no_command() -> None:
    """They come from a table in main.py, so that they take a tenth of a second."""
    program = (
        "import sys; from stack.cli.main import build_app; from typer.testing import CliRunner;"
        "app = build_app(); assert CliRunner().invoke(app, ['--help']).exit_code == 0;"
        "complete = {'_LOGSTACK_COMPLETE': 'complete_bash', 'COMP_WORDS': 'logstack st',"
        " 'COMP_CWORD': '1'};"
        "found = CliRunner().invoke(app, [], prog_name='logstack', env=complete);"
        "assert found.output.split() == ['status'], found.output;"
        "heavy = {'requests', 'rich', 'jinja2', 'boto3'} & set(sys.modules);"
        "ours = [name for name in sys.modules if name.startswith('stack.')];"
        "assert not heavy and ours == ['stack.cli', 'stack.cli.main'], (heavy, ours)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_table_of_commands_names_the_module_of_each() -> None:
    """main.py imports a command's module by it."""
    group: Any = typer.main.get_command(build_app())
    assert [command.name for command in group.commands.values()] == list(group.commands)


def test_the_version_names_the_programs() -> None:
    """As the settings ask for them."""
    result = CliRunner().invoke(build_app(), ["--version"])
    assert result.exit_code == 0
    first, *programs = result.output.splitlines()
    assert first.startswith("logstack 0.")
    assert {"victorialogs", "otelcol"} < {line.split()[0] for line in programs}
