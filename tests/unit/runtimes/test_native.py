"""The parts of the native runtime that start nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stack.runtimes import native
from stack.settings import Settings
from stack.settings.targets import native as native_target
from tests.support.example import settings_with

FILES = {"otelcol/config.yaml": "a: 1\n", "vmalert/rules/x.yaml": "b\n", "supervisord.conf": "c\n"}


@pytest.fixture
def values(tmp_path: Path) -> Settings:
    """Settings whose run and data folders are the test's own."""
    return settings_with(paths={"run": str(tmp_path / "run"), "data": str(tmp_path / "data")})


def rendered(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_all_files_are_written_privately(values: Settings) -> None:
    """They hold secrets: their mode is 0600. The settings they came from are beside them."""
    target = native_target(values)
    assert native.write_files(target, FILES) == {*FILES, "settings.json"}
    written = rendered(target.run_dir)
    assert json.loads(written.pop("settings.json")) == values.model_dump(mode="json")
    assert written == FILES
    for name in (*FILES, "settings.json"):
        assert (target.run_dir / name).stat().st_mode & 0o777 == 0o600, name
    assert target.run_dir.stat().st_mode & 0o777 == 0o700
    assert target.data_dir.stat().st_mode & 0o777 == 0o700


def test_writing_the_same_again_touches_nothing(values: Settings) -> None:
    """A second `up` restarts nothing."""
    target = native_target(values)
    native.write_files(target, FILES)
    before = {path: path.stat().st_mtime_ns for path in target.run_dir.rglob("*")}
    assert native.write_files(target, FILES) == set()
    assert {path: path.stat().st_mtime_ns for path in target.run_dir.rglob("*")} == before


def test_only_what_differs_is_written(values: Settings) -> None:
    """Also a file that was damaged, or is no text any more."""
    target = native_target(values)
    native.write_files(target, FILES)
    (target.run_dir / "supervisord.conf").write_bytes(b"\xff\xfe")
    changed = {**FILES, "otelcol/config.yaml": "a: 2\n"}
    kept = (target.run_dir / "vmalert/rules/x.yaml").stat().st_mtime_ns
    assert native.write_files(target, changed) == {"otelcol/config.yaml", "supervisord.conf"}
    assert (target.run_dir / "vmalert/rules/x.yaml").stat().st_mtime_ns == kept
    assert {n: rendered(target.run_dir)[n] for n in FILES} == changed


def test_a_file_that_is_no_longer_rendered_is_removed(values: Settings) -> None:
    """Otherwise an old alert rule would go on; what is not a component's stays."""
    target = native_target(values)
    native.write_files(target, FILES)
    (target.run_dir / "supervisord.pid").write_text("1", encoding="utf-8")
    fewer = {name: text for name, text in FILES.items() if not name.startswith("vmalert")}
    assert native.write_files(target, fewer) == {"vmalert/rules/x.yaml"}
    assert set(rendered(target.run_dir)) == {*fewer, "settings.json", "supervisord.pid"}


def test_the_folders_that_programs_write_to_are_made(values: Settings) -> None:
    """supervisord refuses to start without them."""
    target = native_target(values)
    native.write_files(target, FILES)
    made = {str(path.relative_to(target.data_dir)) for path in target.data_dir.iterdir()}
    assert made == {
        *("victorialogs", "otelcol", "alertmanager", "vmalert", "sample_app"),
        *("restored", "seaweedfs", "archiver", "archive", "monitor"),
        *("logs", "app-logs"),
    }


def test_the_running_settings_are_those_it_was_started_with(values: Settings) -> None:
    """`status` asks the ports that are listened on, whatever the files say by now."""
    native.write_files(native_target(values), FILES)
    ports = {"offset": 900}
    edited = settings_with(paths=values.paths.model_dump(), ports=ports)
    assert native.running_settings(edited) == values


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"stack": {}}'])
def test_without_readable_running_settings_the_given_ones_count(
    values: Settings, text: str | None
) -> None:
    """Nothing was started yet, or another version was."""
    folder = native_target(values).run_dir
    folder.mkdir(parents=True)
    if text is not None:
        (folder / "settings.json").write_text(text, encoding="utf-8")
    assert native.running_settings(values) == values


def test_status_of_what_was_never_started_is_stopped(values: Settings) -> None:
    """With the address and the log where it would be."""
    statuses = {status.name: status for status in native.status(values)}
    assert {status.state for status in statuses.values()} == {"stopped"}
    vmalert = statuses["vmalert"]
    assert vmalert.as_dict() == {
        "name": "vmalert",
        "state": "stopped",
        "address": "http://127.0.0.1:21004",
        "log": str(native_target(values).log_file("vmalert")),
        "pid": 0,
        "uptime_s": 0,
        "restarts": 0,
        "note": "",
    }


def test_a_socket_without_a_supervisord_is_not_running(values: Settings) -> None:
    """What a crash left behind: `down` says so, and the next `up` starts."""
    socket = native_target(values).supervisor_socket
    socket.parent.mkdir(parents=True)
    socket.touch()
    assert native.down(values) is False


def test_clean_removes_exactly_what_it_said(values: Settings, tmp_path: Path) -> None:
    """Data and rendered files of this target, with their sizes; nothing beside them."""
    target = native_target(values)
    assert native.removable(values) == {}
    native.write_files(target, FILES)
    (target.data_dir / "logs" / "x.log").write_text("12345", encoding="utf-8")
    (tmp_path / "data" / "other").touch()
    sizes = native.removable(values)
    assert list(sizes) == [target.data_dir, target.run_dir]
    assert sizes[target.data_dir] == 5
    native.clean(values)
    assert native.removable(values) == {}
    assert (tmp_path / "data" / "other").exists()
