"""Commands, paths, settings and rules that the documentation shows."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import requests
import typer.main

from stack.alerting.cases import Case, CaseText, shipped_settings
from stack.alerting.rule_text import RuleText, read_yaml
from stack.cli.main import build_app
from stack.engines.victorialogs import VictoriaLogs
from stack.settings import ROOT
from tests.support.example import settings_with

RUNBOOKS = (ROOT / "alerts" / "runbooks.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")


def commands(text: str) -> list[list[str]]:
    """The words of every `./logstack COMMAND`; `&&` joins several."""
    found = re.findall(r"`(\./logstack [^`]*)`|(?m:^ +(\./logstack [^#\n]*))", text)
    lines = [part for inline, block in found for part in (inline or block).split("&&")]
    return [words for words in map(shlex.split, lines) if words[1].islower() and words[1][0] != "-"]


PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "alerts/runbooks.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
COMMANDS = {" ".join(w): w for path in PAGES for w in commands(path.read_text(encoding="utf-8"))}
FOLDERS = "alerts|bench|dashboards|docs|logstack_django|provisioning|stack|tests"


def blocks(start: str) -> list[str]:
    """The indented blocks of the page that begin with a line."""
    found = re.findall(r"(?m)(?:^ {4,}\S.*\n|^\n(?= {4,}\S))+", PAGE)
    texts = ["\n".join(line.strip("\n") for line in block.splitlines()) for block in found]
    return [text for text in texts if text.strip().startswith(start)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_on_a_page_exists(path: Path) -> None:
    """Links, and files and folders of the checkout; `<name>` stands for any name."""
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    named = re.findall(rf"`((?:{FOLDERS})/[^` ]+)`", text)
    assert [link for link in links if not (path.parent / link).exists()] == []
    assert [name for name in named if not list(ROOT.glob(re.sub("<[a-z]+>", "*", name)))] == []


@functools.cache
def pyinfra_help() -> str:
    """By another process: its import changes the standard library (gevent)."""
    command = [sys.executable, "-m", "pyinfra", "--help"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_every_command_exists(words: list[str]) -> None:
    """With its options."""
    group: Any = typer.main.get_command(build_app())
    rest = words[1:]
    while rest and hasattr(group, "commands"):
        *others, name = rest.pop(0).split("|")
        assert group.commands.keys() >= {*others, name}, words
        group = group.commands[name]
    known = {option for parameter in group.params for option in parameter.opts}
    if group.context_settings.get("ignore_unknown_options"):  # passed on to pyinfra
        known |= set(re.findall(r"--[a-z-]+", pyinfra_help()))
    assert not [word for word in rest if word.startswith("--") and word not in known]


@pytest.mark.native
@pytest.mark.parametrize("text", [words[2] for words in commands(RUNBOOKS) if words[1] == "query"])
def test_every_query_of_the_runbooks_is_understood(victorialogs: VictoriaLogs, text: str) -> None:
    """By the engine itself; words in capitals stand for values of the alert."""
    answer = requests.post(
        f"{victorialogs.url}/select/logsql/query", data={"query": text}, timeout=30
    )
    assert answer.ok, answer.text


def test_the_settings_on_the_page_are_accepted() -> None:
    """Each block, over the shipped ones."""
    found = [*blocks("[receivers]"), *blocks("[alerts]")]
    assert len(found) == 13
    for text in found:
        settings_with(**tomllib.loads(text))


def test_the_rule_and_the_case_on_the_page_are_accepted(tmp_path: Any) -> None:
    """They show every key that there is."""
    path = tmp_path / "shown.yaml"
    [rule] = blocks("rules:")
    path.write_text(rule, encoding="utf-8")
    [shown] = read_yaml(path)["rules"]
    text = RuleText.model_validate(shown)
    shown_keys = {*shown, "at_least", "always_fires"}
    instead = {"where", "of", "by"}  # of a query, and shown below it
    assert shown_keys == {f.alias or n for n, f in RuleText.model_fields.items()} - instead
    below = PAGE.partition("A rule of your own")[2]
    assert all(f"{key}:" in below for key in instead)
    [case] = blocks("ErrorRatioHigh:")
    path.write_text(case, encoding="utf-8")
    [[entry]] = read_yaml(path).values()
    assert Case(text.name, "page", CaseText.model_validate(entry)).text.alerts
    assert shipped_settings().thresholds.error_ratio > 0
