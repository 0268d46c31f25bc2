"""The parts of the native runtime that start nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stack.runtimes import native, removal, run_folder
from stack.runtimes.preflight import PreflightError, check_writers
from stack.settings import Settings
from stack.settings.secrets import SIGNING_KEY, secrets_file, write_private
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
    assert run_folder.write_files(target, FILES) == {*FILES, "settings.json"}
    run_folder.forget_changes(target)
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
    run_folder.write_files(target, FILES)
    run_folder.forget_changes(target)
    before = {path: path.stat().st_mtime_ns for path in target.run_dir.rglob("*")}
    assert run_folder.write_files(target, FILES) == set()
    assert {path: path.stat().st_mtime_ns for path in target.run_dir.rglob("*")} == before


def test_a_change_that_nobody_has_read_yet_is_one_at_the_next_time(values: Settings) -> None:
    """An `up` that is killed between writing and restarting leaves it to the next."""
    target = native_target(values)
    run_folder.write_files(target, FILES)
    run_folder.forget_changes(target)
    run_folder.write_files(target, {**FILES, "otelcol/config.yaml": "a: 2\n"})
    changed = {**FILES, "otelcol/config.yaml": "a: 2\n", "vmalert/rules/x.yaml": "c\n"}
    both = {"otelcol/config.yaml", "vmalert/rules/x.yaml"}
    assert run_folder.write_files(target, changed) == both
    assert run_folder.write_files(target, changed) == both
    run_folder.forget_changes(target)
    assert run_folder.write_files(target, changed) == set()


def test_only_what_differs_is_written(values: Settings) -> None:
    """Also a file that was damaged, or is no text any more."""
    target = native_target(values)
    run_folder.write_files(target, FILES)
    run_folder.forget_changes(target)
    (target.run_dir / "supervisord.conf").write_bytes(b"\xff\xfe")
    changed = {**FILES, "otelcol/config.yaml": "a: 2\n"}
    kept = (target.run_dir / "vmalert/rules/x.yaml").stat().st_mtime_ns
    assert run_folder.write_files(target, changed) == {"otelcol/config.yaml", "supervisord.conf"}
    assert (target.run_dir / "vmalert/rules/x.yaml").stat().st_mtime_ns == kept
    assert {n: rendered(target.run_dir)[n] for n in FILES} == changed


def test_a_file_that_is_no_longer_rendered_is_removed(values: Settings) -> None:
    """Otherwise an old alert rule would go on; what is not a component's stays."""
    target = native_target(values)
    run_folder.write_files(target, FILES)
    run_folder.forget_changes(target)
    (target.run_dir / "supervisord.pid").write_text("1", encoding="utf-8")
    fewer = {name: text for name, text in FILES.items() if not name.startswith("vmalert")}
    assert run_folder.write_files(target, fewer) == {"vmalert/rules/x.yaml"}
    run_folder.forget_changes(target)
    assert set(rendered(target.run_dir)) == {*fewer, "settings.json", "supervisord.pid"}


def test_the_folders_that_programs_write_to_are_made(values: Settings) -> None:
    """supervisord refuses to start without them."""
    target = native_target(values)
    run_folder.write_files(target, FILES)
    made = {str(path.relative_to(target.data_dir)) for path in target.data_dir.iterdir()}
    assert made == {
        *("victorialogs", "otelcol", "alertmanager", "vmalert", "sample_app"),
        *("restored", "seaweedfs", "archiver", "archive", "monitor"),
        *("logs", "app-logs"),
    }


def test_the_running_settings_are_those_it_was_started_with(values: Settings) -> None:
    """`status` asks the ports that are listened on, whatever the files say by now."""
    run_folder.write_files(native_target(values), FILES)
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
    assert native.down(values, lambda name, text: None) is False


def test_clean_removes_exactly_what_it_said(values: Settings, tmp_path: Path) -> None:
    """Data and rendered files of this target, with their sizes; nothing beside them."""
    target = native_target(values)
    assert removal.removable(values) == {}
    run_folder.write_files(target, FILES)
    (target.data_dir / "logs" / "x.log").write_text("12345", encoding="utf-8")
    (tmp_path / "data" / "other").touch()
    sizes = removal.removable(values)
    assert list(sizes) == [target.data_dir, target.run_dir]
    assert sizes[target.data_dir] == 5
    removal.remove(values)
    assert removal.removable(values) == {}
    assert (tmp_path / "data" / "other").exists()


def test_clean_removes_what_was_started_whatever_the_settings_say_now(
    values: Settings, tmp_path: Path
) -> None:
    """With another data folder in the settings, that of the stack is meant."""
    target = native_target(values)
    run_folder.write_files(target, FILES)
    (tmp_path / "later" / "native").mkdir(parents=True)
    edited = settings_with(paths={"run": str(tmp_path / "run"), "data": str(tmp_path / "later")})
    assert list(removal.removable(edited)) == [target.data_dir, target.run_dir]
    removal.remove(edited)
    assert (tmp_path / "later" / "native").exists()
    assert not target.data_dir.exists()


def test_clean_goes_on_where_one_that_was_killed_stopped(values: Settings) -> None:
    """Folders that it had put aside already are listed and removed; the next `up` is not theirs."""
    target = native_target(values)
    aside = target.data_dir.with_name("native.removed")
    (aside / "victorialogs").mkdir(parents=True)
    (aside / "victorialogs" / "part").write_bytes(b"123")
    run_folder.write_files(target, FILES)
    assert removal.removable(values)[aside] == 3
    removal.remove(values)
    assert removal.removable(values) == {}


def test_clean_leaves_data_that_a_program_writes_to(values: Settings) -> None:
    """For example the engine of a stack with another run folder."""
    target = native_target(values)
    run_folder.write_files(target, FILES)
    held = target.storage_dir("victorialogs") / "flock.lock"
    with writer_of(held) as process:
        with pytest.raises(native.NativeError, match=rf"process {process.pid} .* writes\. Stop"):
            removal.remove(values)
        assert held.exists()
        with pytest.raises(PreflightError, match="expected a folder that no other stack uses"):
            check_writers(target)
    check_writers(target)
    removal.remove(values)
    assert not held.exists()


def test_clean_names_the_archive_and_the_key_of_another(values: Settings) -> None:
    """Their lock does not protect files from their owner."""
    target = native_target(values)
    assert removal.describe_losses(values) == []
    run_folder.write_files(target, FILES)
    store = target.storage_dir("seaweedfs")
    (store / "1.dat").write_bytes(b"x" * 2048)
    assert removal.describe_losses(values) == [
        f"the archive: 2 KiB in {store}, each hour locked for 365 days "
        "(archive.lock = governance), which does not protect its files"
    ]
    archive = {"endpoint": "https://s3.example.com", "lock": "none"}
    elsewhere = settings_with(paths=values.paths.model_dump(), archive=archive)
    run_folder.write_files(native_target(elsewhere), FILES)
    write_private(secrets_file(target.data_dir), json.dumps({SIGNING_KEY: "x"}))
    first, second = removal.describe_losses(elsewhere)
    assert first.endswith("without a lock (archive.lock)")
    assert second.startswith(f"{SIGNING_KEY} in {target.data_dir}/secrets.json, without which")


@contextmanager
def writer_of(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has a file open for writing."""
    code = "import sys; f = open(sys.argv[1], 'w'); print('open', flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdin is not None
        writer.stdout.readline()
        try:
            yield writer
        finally:
            writer.stdin.close()
