"""The commands: their help, and what a user sees of a mistake."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.table import Table
from typer.testing import CliRunner

from stack.cli.console import out, print_json, say, shorten_path
from stack.cli.main import KNOWN_ERRORS, build_app, run
from stack.cli.text import CONTROLS
from stack.components.catalogue import selected
from stack.settings import ROOT, load, setting_keys
from tests.support.ports import free_ports

COMMANDS = ["clean", "down", "logs", "query", "settings", "smoke", "status", "traffic", "up"]


def names() -> list[str]:
    """Every command, those of groups as `group command`, also one that somebody adds."""

    def below(command: Any, path: str) -> Iterator[str]:
        children = getattr(command, "commands", None)
        if children is None:
            yield path
        for name, child in (children or {}).items():
            yield from below(child, f"{path} {name}".strip())

    return sorted(below(typer.main.get_command(build_app()), ""))


@pytest.fixture
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Commands find nothing running here, whatever runs in this checkout."""
    for name in os.environ:
        if name.startswith("LOGSTACK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LOGSTACK_PATHS__RUN", str(tmp_path / "run"))
    monkeypatch.setenv("LOGSTACK_PATHS__DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)


Logstack = Callable[..., tuple[int, str, str]]


@pytest.fixture
def logstack(
    own_folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Logstack:
    """Runs a command as the launcher does: exit status, standard output, standard error."""

    def call(*arguments: str, **environ: str) -> tuple[int, str, str]:
        for name, text in environ.items():
            monkeypatch.setenv(name, text)
        monkeypatch.setattr(sys, "argv", ["logstack", *arguments])
        with pytest.raises(SystemExit) as caught:
            run()
        assert isinstance(caught.value.code, int)
        return caught.value.code, *capsys.readouterr()

    return call


def test_these_are_the_commands() -> None:
    """A new one has to be added here, and gets the tests below."""
    assert [name for name in COMMANDS if name not in names()] == []


@pytest.mark.parametrize("name", names())
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
    for name in {name.split()[0] for name in names()}:
        assert any(f" {name} " in line and "." in line for line in result.output.splitlines()), name
    alone = CliRunner().invoke(build_app(), [], env={"COLUMNS": "200"})
    assert alone.output.strip() == result.output.strip()


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
def test_a_wrong_argument_says_what_was_wanted(arguments: list[str], message: str) -> None:
    """Before anything is asked of the stack."""
    result = CliRunner().invoke(build_app(), arguments, env={"COLUMNS": "250", "TERM": "dumb"})
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


RANGES = [
    ("logs", "--since", "--until"),
    ("logs --follow", "--since", "--until"),
    ("query *", "--since", "--until"),
    ("report", "--since", "--until"),
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
        for name in names()
        for help_text in [CliRunner().invoke(build_app(), [*name.split(), "--help"]).output]
        if re.search(r"--(until|to)\b", help_text)
    }
    assert found == {re.sub(r" (\*|--follow)", "", command) for command, *_ in RANGES}


def test_the_launcher_reports_a_wrong_setting_in_one_line(own_folders: Path) -> None:
    """No traceback reaches a user, from whichever directory it is called."""
    done = subprocess.run(
        [str(ROOT / "logstack"), "status"],
        env={**os.environ, "LOGSTACK_PORTS__OFSET": "1"},
        cwd=own_folders,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "ports.ofset: unknown setting (from the environment). "
        "Did you mean ports.offset? `./logstack settings` lists all settings.\n"
    )


@pytest.mark.parametrize("name", [".venv", ".venv-other"])
def test_the_launcher_leaves_a_linked_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It would empty that of the checkout to which the link leads."""
    if name != ".venv":
        monkeypatch.setenv("LOGSTACK_VENV", str(tmp_path / name))
    shutil.copy(ROOT / "logstack", tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (tmp_path / name).symlink_to(elsewhere)
    argv = [str(tmp_path / "logstack"), "--prepare"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "got a link" in done.stderr
    assert [path.name for path in elsewhere.iterdir()] == ["kept"]


@pytest.mark.usefixtures("own_folders")
def test_a_reader_that_has_read_enough_is_no_error() -> None:
    """`logstack settings | head -1` ends well, also under `set -o pipefail`."""
    line = f"set -o pipefail; '{ROOT}/logstack' settings | true"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_engine_that_is_not_there_is_one_line_and_status_1(logstack: Logstack) -> None:
    """It says what to type."""
    port = str(free_ports(1)[0])
    assert logstack("logs", LOGSTACK_PORTS__VICTORIALOGS=port, LOGSTACK_PORTS__OFFSET="0") == (
        1,
        "",
        f"cannot reach VictoriaLogs at http://127.0.0.1:{port}: connection refused. "
        "Run: ./logstack status\n",
    )


def test_secrets_that_others_may_read_are_one_line_and_status_1(
    logstack: Logstack, own_folders: Path
) -> None:
    """The commands that need them refuse them as `up` does."""
    path = own_folders / "data" / "native" / "secrets.json"
    path.parent.mkdir(parents=True)
    path.touch()
    path.chmod(0o644)
    line = f"{path}: expected mode 0600, got 0644. Run: chmod 600 '{path}'\n"
    assert logstack("smoke") == (1, "", line)
    assert logstack("traffic") == (1, "", line)


def test_an_error_of_the_operating_system_names_the_file(
    logstack: Logstack, own_folders: Path
) -> None:
    """A folder that cannot be made, for example."""
    (own_folders / "data").touch()
    assert logstack("smoke") == (1, "", f"{own_folders}/data/native: not a directory\n")


def test_a_traceback_is_shown_to_who_asks_for_it(
    own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LOGSTACK_TRACEBACK is for people who look for a fault of the stack itself."""
    (own_folders / "data").touch()
    monkeypatch.setenv("LOGSTACK_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["logstack", "smoke"])
    with pytest.raises(NotADirectoryError):
        run()


def test_every_error_class_of_the_stack_is_known() -> None:
    """A new one belongs into KNOWN_ERRORS, or here if it cannot get as far as a command."""
    inner = {"GoError", "MirrorError", "PreflightError", "RenderError", "SupervisorError"}
    inner |= {"QueryError"}  # no command makes a query from what a user types
    # A class that derives from a known one is known; a private one is caught where it is raised.
    definition = re.compile(
        r"^class ([A-Z]\w*Error)\((?:Exception|RuntimeError|ValueError)\)", re.M
    )
    classes = {
        name
        for folder in ("stack", "dashboards")
        for path in (ROOT / folder).rglob("*.py")
        if "sample_app" not in path.parts
        for name in definition.findall(path.read_text(encoding="utf-8"))
    }
    assert classes - inner == set(KNOWN_ERRORS.values())
    for module, name in KNOWN_ERRORS.items():
        assert issubclass(getattr(import_module(module), name), Exception)


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


def test_status_of_a_stack_that_is_not_running_is_1(logstack: Logstack) -> None:
    """As JSON for programs: every component, stopped."""
    code, text, remarks = logstack("status", "--json")
    assert (code, remarks) == (1, "")
    states = [item["state"] for item in json.loads(text)]
    assert states == ["stopped"] * len(selected(load({})))


def test_clean_and_down_have_nothing_to_do_where_nothing_was(logstack: Logstack) -> None:
    """Both say so, and it is no error."""
    assert logstack("clean") == (0, "", "Nothing to remove.\n")
    assert logstack("down") == (0, "", "Nothing was running.\n")


def test_clean_does_not_forget_volumes_that_it_cannot_remove(
    logstack: Logstack, own_folders: Path
) -> None:
    """After `down`, nothing else knows of them."""
    variables = own_folders / "run" / "docker" / "compose.env"
    variables.parent.mkdir(parents=True)
    variables.touch()
    status, _, errors = logstack("clean", PATH=str(own_folders))
    assert status == 1
    assert "Removing the containers and volumes of logstack-" in errors
    assert variables.exists()


def test_clean_says_what_it_removes(logstack: Logstack, own_folders: Path) -> None:
    """Each folder with its size, as seen from here."""
    (own_folders / "data" / "native").mkdir(parents=True)
    (own_folders / "data" / "native" / "x").write_bytes(b"x" * 2048)
    assert logstack("clean") == (
        0,
        "",
        "Removing data/native (2 KiB)\nThe built binaries stay in the cache.\n",
    )
    assert list((own_folders / "data").iterdir()) == []


def test_settings_lists_every_value_and_where_it_comes_from(
    logstack: Logstack, own_folders: Path
) -> None:
    """Those of the environment are said to come from there."""
    code, text, _ = logstack("settings", "--json", LOGSTACK_AGENT__COMPRESSION="gzip")
    shown = json.loads(text)
    assert (code, list(shown)) == (0, list(setting_keys()))
    assert shown["agent.compression"] == {"value": "gzip", "from": "the environment"}
    assert shown["paths.run"] == {"value": str(own_folders / "run"), "from": "the environment"}


def test_a_path_is_shown_the_short_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to where the user is, unless that is longer."""
    monkeypatch.chdir(tmp_path)
    assert shorten_path(str(tmp_path / "logs" / "x.log")) == "logs/x.log"
    assert shorten_path("/x") == "/x"


@pytest.mark.parametrize(
    "command", [("archive", "run"), ("archive", "verify"), ("archive", "unrestore"), ("doctor",)]
)
def test_the_docker_runtime_says_that_it_has_no_archive(
    logstack: Logstack, own_folders: Path, command: tuple[str, ...]
) -> None:
    """And what to run for one, in place of an object store that does not answer."""
    start_docker(own_folders)
    status, printed, errors = logstack(*command)
    assert (status, printed) == (1, "")
    assert "the Docker runtime has none" in errors
    assert "RUNTIME=native make up" in errors


def start_docker(own_folders: Path) -> None:
    """What the Docker runtime leaves there when it is started with the settings as they are."""
    folder = own_folders / "run" / "docker"
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(load().model_dump_json(), encoding="utf-8")


def test_commands_for_alerts_ask_the_docker_runtime_where_that_is_up(
    logstack: Logstack, own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ports and its rules, which are without those of an archiver."""
    vmalert, alertmanager = free_ports(2)
    monkeypatch.setenv("LOGSTACK_PORTS__OFFSET", "0")
    monkeypatch.setenv("LOGSTACK_PORTS__VMALERT", str(vmalert))
    monkeypatch.setenv("LOGSTACK_PORTS__ALERTMANAGER", str(alertmanager))
    assert "ArchiveNeverRan" in logstack("alerts", "list")[1]
    start_docker(own_folders)
    for name in ("OFFSET", "VMALERT", "ALERTMANAGER"):
        monkeypatch.delenv(f"LOGSTACK_PORTS__{name}")
    status, printed, _ = logstack("alerts", "list")
    assert (status, "ServerErrorBurst" in printed, "ArchiveNeverRan" in printed) == (0, True, False)
    status, _, errors = logstack("alerts", "send", "--channel", "email")
    assert status == 1
    assert f"http://127.0.0.1:{alertmanager}" in errors


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
    say(HOSTILE, "red")
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
