"""`up`, `status`, `down`, `clean` and what goes wrong around them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stack.runtimes.supervisor import Supervisor
from stack.settings import ROOT, variable_name
from tests.support.native_stack import (
    StackUnderTest,
    line,
    logstack_argv,
    marker,
    poll,
    processes_of,
    record,
)

pytestmark = pytest.mark.native

COMPONENTS = {
    *("victorialogs", "otelcol", "alertmanager", "vmalert", "sample_app"),
    *("restored", "seaweedfs", "archiver", "monitor"),
}


def test_status_names_state_address_and_log_of_each_component(stack: StackUnderTest) -> None:
    """In the table for people and in the JSON for programs."""
    result = stack.run("status")
    assert result.returncode == 0
    assert "component" in result.stdout
    statuses = stack.statuses()
    assert set(statuses) == COMPONENTS
    for item in statuses.values():
        assert item["state"] == ("idle" if item["name"] == "restored" else "healthy")
        address = "" if item["name"] in ("archiver", "monitor") else "http://127.0.0.1:"
        assert item["address"].startswith(address)
        assert item["state"] == "idle" or Path(item["log"]).is_file()


def test_the_engine_for_restored_records_runs_while_there_are_any(
    own_stack: StackUnderTest,
) -> None:
    """Also after a restart of the stack; nobody needs it before."""
    own_stack.up()
    assert own_stack.statuses()["restored"]["state"] == "idle"
    nothing = own_stack.run("logs", "--restored")
    assert nothing.returncode == 1
    assert "nothing is restored" in nothing.stderr
    mark = marker()
    # The newest seconds may still be on the way to the engine and are not archived yet.
    earlier = datetime.now(UTC) - timedelta(minutes=1)
    own_stack.write(line(record(mark, mark=mark, timestamp=earlier.isoformat())))
    own_stack.wait_for({"mark": mark}, 1)
    times = ("--from", "2h", "--to", "now")
    for command in (["run", "--now"], ["restore", *times]):
        result = own_stack.run("archive", *command)
        assert result.returncode == 0, result.stderr
    assert own_stack.statuses()["restored"]["state"] == "healthy"
    assert mark in own_stack.run("logs", "--restored").stdout
    own_stack.run("down")
    own_stack.up()
    assert mark in own_stack.run("logs", "--restored").stdout
    assert own_stack.run("archive", "unrestore").returncode == 0
    assert own_stack.statuses()["restored"]["state"] == "idle"


def test_a_second_up_changes_nothing_and_says_so(stack: StackUnderTest) -> None:
    """No process is replaced and no file is written again."""
    before = {name: item["pid"] for name, item in stack.statuses().items()}
    times = {path: path.stat().st_mtime_ns for path in stack.target.run_dir.rglob("*.y*ml")}
    result = stack.run("up")
    assert result.returncode == 0, result.stderr
    assert "nothing changed" in result.stdout
    assert {name: item["pid"] for name, item in stack.statuses().items()} == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_everything_listens_on_loopback_only(stack: StackUnderTest) -> None:
    """No component opens a port on an address that other machines reach."""
    assert stack.listens_on() == {"127.0.0.1"}


def test_rendered_files_and_secrets_are_private(stack: StackUnderTest) -> None:
    """Nobody else on the machine reads them, and no secret stands in an argument."""
    secrets = stack.target.data_dir / "secrets.json"
    files = [path for path in stack.target.run_dir.rglob("*") if path.is_file()]
    for path in [secrets, stack.target.run_dir, stack.target.data_dir, *files]:
        assert path.stat().st_mode & 0o077 == 0, path
    values = json.loads(secrets.read_text(encoding="utf-8")).values()
    commands = " ".join(" ".join(process.cmdline()) for process in processes_of(stack))
    assert not [value for value in values if value in commands or value in stack.logs(100_000)]


def test_the_watchdog_alert_fires(stack: StackUnderTest) -> None:
    """vmalert evaluates rules against the engine and Alertmanager has the alert."""
    import requests

    url = stack.target.url("alertmanager", "/api/v2/alerts")
    poll(
        lambda: [
            alert
            for alert in requests.get(url, timeout=5).json()
            if alert["labels"]["alertname"] == "Watchdog"
        ],
        f"the alert Watchdog at Alertmanager\n{stack.logs()}",
        timeout=60,
    )


def test_smoke_reads_back_every_field(stack: StackUnderTest) -> None:
    """One record of the app's own logging, equal in value and type."""
    result = stack.run("smoke", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["seconds"] < 30


def test_logs_shows_errors_with_their_traceback(stack: StackUnderTest) -> None:
    """The smoke record's line, its offset and its stack, found by its request."""
    stack.run("smoke", "--json")
    result = stack.run("logs", "--level", "ERROR", "--since", "5m", "-n", "1")
    assert result.returncode == 0, result.stderr
    head, *rest = result.stdout.splitlines()
    assert " ERROR " in head
    assert "+00:00" in head or "-" in head.split()[1]
    assert any("MarkerError" in text for text in rest)
    assert all(text.startswith("    ") for text in rest)


@pytest.mark.parametrize(
    ("option", "value", "fields"),
    [
        ("--request-id", "req-{mark}", {"request_id": "req-{mark}"}),
        ("--org", "org-{mark}", {"organization_id": "org-{mark}"}),
        ("--service", "svc-{mark}", {"service_name": "svc-{mark}"}),
        ("--grep", "needle.{mark}", {"message": "a needle {mark}"}),
        ("--grep", "needle.{mark}", {"stack_trace": "Traceback\n needle {mark}"}),
    ],
)
def test_logs_filters(
    stack: StackUnderTest, option: str, value: str, fields: dict[str, str]
) -> None:
    """Each filter finds the record that it means and not the one beside it."""
    mark = marker()
    given = {name: text.format(mark=mark) for name, text in fields.items()}
    stack.write(line(record(mark=mark, **{"message": "x", **given})), line(record(mark=mark)))
    stack.wait_for({"mark": mark}, 2)
    result = stack.run("logs", option, value.format(mark=mark), "--json")
    [found] = [json.loads(text) for text in result.stdout.splitlines()]
    assert {name: found[name] for name in given} == given


def test_logs_follow_prints_records_as_they_come(stack: StackUnderTest) -> None:
    """Each once, also those that were there before, and Ctrl-C ends it."""
    mark = marker()
    stack.write(line(record(f"first {mark}")))
    stack.wait_for({}, 1, grep=mark)
    process = stack.popen("logs", "--follow", "--grep", mark, "--json")
    assert process.stdout is not None
    with process:
        seen = [json.loads(process.stdout.readline())["message"]]
        stack.write(line(record(f"second {mark}")))
        seen.append(json.loads(process.stdout.readline())["message"])
        stack.write(line(record(f"third {mark}")))
        seen.append(json.loads(process.stdout.readline())["message"])
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert seen == [f"first {mark}", f"second {mark}", f"third {mark}"]
    assert "{" not in rest
    assert process.returncode == 130


def test_a_component_that_dies_is_restarted_and_status_shows_it(stack: StackUnderTest) -> None:
    """It comes back by itself with another process and a count of one more."""
    before = stack.statuses()["vmalert"]
    stack.kill("vmalert")

    def restarted() -> bool:
        now = stack.statuses()["vmalert"]
        return bool(now["state"] == "healthy" and now["pid"] not in (0, before["pid"]))

    poll(restarted, f"vmalert healthy again\n{stack.logs()}")
    assert stack.statuses()["vmalert"]["restarts"] == before["restarts"] + 1


def test_up_works_from_another_directory_and_through_a_link(
    stack: StackUnderTest, tmp_path: Path
) -> None:
    """A folder called `stack` in the working directory is not taken for the program."""
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack" / "__init__.py").write_text("raise SystemExit('wrong stack')\n")
    link = tmp_path / "a link"
    link.symlink_to(ROOT / "logstack")
    for argv in (
        [str(link), "status"],
        ["make", "--silent", "-f", str(ROOT / "Makefile"), "status"],
        ["make", "--silent", "-C", str(ROOT), "status"],
    ):
        result = subprocess.run(
            argv, cwd=tmp_path, env=stack.environ, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"{argv}: {result.stdout}{result.stderr}"
        assert "healthy" in result.stdout


def test_another_stack_runs_beside_the_first(
    stack: StackUnderTest, own_stack: StackUnderTest
) -> None:
    """Two sets of ports and folders do not meet; stopping one leaves the other."""
    own_stack.up()
    mark = marker()
    own_stack.write(line(record(mark=mark)))
    own_stack.wait_for({"mark": mark}, 1)
    assert stack.count({"mark": mark}) == 0
    assert own_stack.run("down").returncode == 0
    assert processes_of(own_stack) == []
    assert stack.run("status").returncode == 0


def test_one_changed_value_restarts_only_what_depends_on_it(own_stack: StackUnderTest) -> None:
    """The collector reads its poll interval; nothing else does."""
    own_stack.up()
    before = {name: item["pid"] for name, item in own_stack.statuses().items()}
    own_stack.variables[variable_name("agent", "poll_interval")] = "300ms"
    result = own_stack.run("up")
    assert result.returncode == 0, result.stderr
    assert "Restarted because their settings changed: otelcol." in result.stdout
    after = {name: item["pid"] for name, item in own_stack.statuses().items()}
    assert {name for name in before if before[name] != after[name]} == {"otelcol"}


def test_down_keeps_the_data_and_clean_removes_it(own_stack: StackUnderTest) -> None:
    """Status fails while nothing runs; clean says what it removes."""
    own_stack.up()
    mark = marker()
    own_stack.write(line(record(mark=mark)))
    own_stack.wait_for({"mark": mark}, 1)
    assert own_stack.run("down").returncode == 0
    assert processes_of(own_stack) == []
    stopped = own_stack.run("status")
    assert stopped.returncode == 1
    assert "stopped" in stopped.stdout
    own_stack.up()
    assert own_stack.count({"mark": mark}) == 1
    asked = own_stack.run("clean")
    assert asked.returncode == 1
    assert "nobody can answer here. Run: ./logstack clean --yes" in asked.stderr
    assert own_stack.count({"mark": mark}) == 1
    cleaned = own_stack.run("clean", "--yes")
    assert cleaned.returncode == 0
    assert "with the archive: " in cleaned.stderr
    assert "each hour locked for 365 days (archive.lock = governance)" in cleaned.stderr
    assert f"Removes {own_stack.target.data_dir.relative_to(own_stack.folder)}" in cleaned.stderr
    assert not own_stack.target.data_dir.exists()
    assert not own_stack.target.run_dir.exists()
    assert processes_of(own_stack) == []
    assert "Nothing to remove" in own_stack.run("clean").stderr


def test_a_taken_port_is_named_and_nothing_is_started(own_stack: StackUnderTest) -> None:
    """The message says which port, which process has it and which key changes it."""
    port = own_stack.settings.ports.alertmanager
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        result = own_stack.run("up")
    assert result.returncode == 1
    assert f"expected a free port for alertmanager, got {port}" in result.stderr
    assert f"process {os.getpid()}" in result.stderr
    assert "LOGSTACK_PORTS__ALERTMANAGER=" in result.stderr
    assert "Traceback" not in result.stderr
    assert processes_of(own_stack) == []


def test_ctrl_c_during_the_start_stops_everything_started(own_stack: StackUnderTest) -> None:
    """No component goes on without its owner knowing."""
    process = own_stack.popen("up")
    poll(lambda: Supervisor(own_stack.target).is_running(), "supervisord running", timeout=60)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert processes_of(own_stack) == []


def test_files_left_by_a_crash_do_not_matter(own_stack: StackUnderTest) -> None:
    """A pid file that names a stranger and a socket that nobody serves are replaced."""
    run_dir = own_stack.target.run_dir
    run_dir.mkdir(parents=True)
    (run_dir / "supervisord.pid").write_text(f"{os.getpid()}\n", encoding="ascii")
    with socket.socket(socket.AF_UNIX) as stale:
        path = own_stack.target.supervisor_socket
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        stale.bind(str(path))
    own_stack.up()
    assert own_stack.run("status").returncode == 0


def test_a_component_that_cannot_start_shows_the_end_of_its_log(
    own_stack: StackUnderTest,
) -> None:
    """And everything else that this start brought up is stopped again."""
    own_stack.variables[variable_name("timing", "start_timeout")] = "8s"
    storage = own_stack.target.storage_dir("victorialogs")
    storage.mkdir(parents=True)
    (storage / "partitions").write_text("not a folder", encoding="ascii")
    result = own_stack.run("up")
    assert result.returncode == 1
    assert "cannot start victorialogs: " in result.stderr
    assert "partitions" in result.stderr
    assert processes_of(own_stack) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
@pytest.mark.parametrize(
    ("options", "found"),
    [("size=64k,ro", "it is read-only"), ("size=64m", "expected at least 256MiB free")],
    ids=["read-only", "too small"],
)
def test_a_data_folder_that_cannot_be_used_is_refused(
    own_stack: StackUnderTest, tmp_path: Path, options: str, found: str
) -> None:
    """Before anything is started, with the key that names another folder."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"this machine allows no mount: {mounted.stderr.strip()}")
    try:
        own_stack.variables[variable_name("paths", "data")] = str(place)
        result = own_stack.run("up")
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert result.returncode == 1
    assert found in result.stderr
    assert "LOGSTACK_PATHS__DATA=" in result.stderr
    assert processes_of(own_stack) == []


def test_no_network_uses_what_is_built_and_names_what_is_not(
    own_stack: StackUnderTest, tmp_path: Path
) -> None:
    """With an empty cache and no way out each missing binary is named, and nothing is started."""
    offline = {
        variable_name("paths", "cache"): str(tmp_path / "empty cache"),
        "GOPROXY": "http://127.0.0.1:9",
        "GOMODCACHE": str(tmp_path / "no modules"),
        "GOFLAGS": "-modcacherw",
    }
    result = own_stack.run("up", extra=offline)
    assert result.returncode == 1
    assert "a download failed; check the network" in result.stderr
    assert "Missing: victorialogs, otelcol, alertmanager, vmalert." in result.stderr
    assert processes_of(own_stack) == []
    assert own_stack.run("up", extra={"GOPROXY": "off"}).returncode == 0


def test_terminating_the_command_does_not_leave_a_half_started_stack(
    own_stack: StackUnderTest,
) -> None:
    """SIGTERM is treated like Ctrl-C."""
    process = subprocess.Popen(
        logstack_argv("up"),
        env=own_stack.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    poll(lambda: Supervisor(own_stack.target).is_running(), "supervisord running", timeout=60)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert processes_of(own_stack) == []
