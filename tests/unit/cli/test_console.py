"""How the console shows values: exactly, and without effect on the terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from rich.table import Table

from stack.cli.console import note, out, print_json, shorten_path
from stack.cli.text import CONTROLS
from stack.settings import ROOT
from tests.support.commands import Logstack


def test_a_path_is_shown_the_short_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to where the user is, unless that is longer."""
    monkeypatch.chdir(tmp_path)
    assert shorten_path(str(tmp_path / "logs" / "x.log")) == "logs/x.log"
    assert shorten_path("/x") == "/x"


HOSTILE = "[hotfix] see [/docs] [red]:warning: \\[x] ü \x1b[2J\x9b2J\x85\u2028 \ud800"


def test_json_is_printed_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither markup nor emoji; on one line, and nothing in it drives a terminal."""
    print_json({"text": HOSTILE, "at": date(2026, 1, 31)})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"text": HOSTILE, "at": "2026-01-31"}
    assert printed.count("\n") == 1
    assert CONTROLS.findall(printed) == ["\n"]
    print_json([HOSTILE], indent=2)
    printed = capsys.readouterr().out
    assert json.loads(printed) == [HOSTILE]
    assert CONTROLS.findall(printed) == ["\n"] * 3


def test_a_terminal_that_has_not_every_letter_is_no_error(own_folders: Path) -> None:
    """JSON stays JSON there."""
    path = str(own_folders / "größe\u2028")
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "LOGSTACK_PATHS__CACHE": path}
    for options in ([], ["--json"]):
        argv = [sys.executable, "-P", "-m", "stack.cli.main", "settings", *options]
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["paths.cache"]["value"] == path


def test_every_command_prints_json_with_the_one_helper() -> None:
    """Anything else goes through what the console does with a text."""
    folder = ROOT / "stack" / "cli"
    with_json = {
        path.name for path in folder.glob("*.py") if "json.dumps" in path.read_text("utf-8")
    }
    assert with_json == {"text.py", "follow.py"}  # the latter makes keys


def test_values_in_texts_and_tables_are_shown_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever prints them: a value is no markup, and its controls are not obeyed."""
    table = Table("[/head]")
    table.add_row(HOSTILE)
    out.print(HOSTILE)
    out.print(table)
    note(HOSTILE, "red")
    printed = capsys.readouterr()
    shown = r"[hotfix] see [/docs] [red]:warning: \[x] ü \x1b[2J\x9b2J\x85\u2028 \ud800"
    assert printed.out.splitlines()[0] == shown
    assert shown in printed.out.splitlines()[4]
    assert "[/head]" in printed.out
    assert printed.err == f"{shown}\n"


def test_a_path_with_brackets_is_shown_whole(logstack: Logstack) -> None:
    """In results and in errors."""
    path = "/[hotfix] :warning:[/docs]"  # tmp_path can be longer than a line
    code, text, _ = logstack("settings", "--json", LOGSTACK_PATHS__CACHE=path)
    assert (code, json.loads(text)["paths.cache"]["value"]) == (0, path)
    code, text, _ = logstack("settings")
    assert (code, path in text) == (0, True)
