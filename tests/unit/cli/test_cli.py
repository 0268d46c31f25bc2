"""What commands do, print and return, and what a user sees of a mistake."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest

from stack.cli.filters import selection_of
from stack.cli.main import KNOWN_ERRORS, run
from stack.components.catalogue import selected
from stack.settings import ROOT, load, setting_keys
from tests.support.commands import Logstack
from tests.support.ports import free_ports

EVER = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))


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
    status, _, errors = logstack("clean", "--yes", PATH=str(own_folders))
    assert status == 1
    assert "Removes the containers and volumes of logstack-" in errors
    assert variables.exists()


def test_clean_says_what_it_removes(logstack: Logstack, own_folders: Path) -> None:
    """Each folder with its size, as seen from here."""
    (own_folders / "data" / "native").mkdir(parents=True)
    (own_folders / "data" / "native" / "x").write_bytes(b"x" * 2048)
    said = "Removes data/native (2 KiB)\n"
    refusal = "cannot remove it: nobody can answer here. Run: ./logstack clean --yes\n"
    assert logstack("clean") == (1, "", f"{said}{refusal}")
    assert (own_folders / "data" / "native" / "x").exists()
    done = "Removed. The built binaries stay in the cache.\n"
    assert logstack("clean", "--yes") == (0, "", f"{said}{done}")
    assert list((own_folders / "data").iterdir()) == []


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "a)"])
@pytest.mark.parametrize("command", ["logs", "archive search"])
def test_an_open_expression_is_refused_by_its_option(
    logstack: Logstack, command: str, pattern: str
) -> None:
    """Not by the engine, with the whole query; `\\pL` and the like are its own business."""
    code, _, errors = logstack(*command.split(), "--grep", pattern)
    assert code == 2
    assert f"--grep: expected a regular expression, got {pattern!r}: " in errors
    assert selection_of(EVER, "", r"\pL\z(?i)x", {}).grep == r"\pL\z(?i)x"


def test_a_query_that_begins_with_a_dash_is_told_how_to_negate(logstack: Logstack) -> None:
    """LogsQL takes `-` and `!`, the command line only one of them."""
    code, _, errors = logstack("query", "-level:ERROR")
    assert code == 2
    assert "No such option: -l In a query, write `!` for `-`: '!level:ERROR'." in errors
    code, _, errors = logstack("query", "*", "-n", "999999999999999999999")
    assert (code, "-n" in errors) == (2, True)


def test_settings_lists_every_value_and_where_it_comes_from(
    logstack: Logstack, own_folders: Path
) -> None:
    """Those of the environment are said to come from there."""
    code, text, _ = logstack("settings", "--json", LOGSTACK_AGENT__COMPRESSION="gzip")
    shown = json.loads(text)
    assert (code, list(shown)) == (0, list(setting_keys()))
    assert shown["agent.compression"] == {"value": "gzip", "from": "the environment"}
    assert shown["paths.run"] == {"value": str(own_folders / "run"), "from": "the environment"}


@pytest.mark.parametrize(
    "command", [("archive", "run"), ("archive", "verify"), ("archive", "unrestore")]
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
