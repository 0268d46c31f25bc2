"""The runtime itself: what it starts, how it is kept apart, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path

import pytest
import requests

from stack import settings
from stack.records.contract import MONITOR_SERVICE
from stack.runtimes import selection as runtime
from stack.runtimes.docker import engine as docker_engine
from stack.runtimes.docker import runtime as docker
from stack.runtimes.docker.checks import check_log_mount, check_room, explain, log_hint
from stack.runtimes.docker.engine import DockerError, ask, check_engine
from stack.settings import Settings, variable_name
from tests.support.docker_stack import DockerStackUnderTest
from tests.support.native_stack import poll

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


def test_a_second_up_changes_nothing(stack: DockerStackUnderTest) -> None:
    """No container is replaced, and the table is that of the native runtime."""
    before = {name: item["pid"] for name, item in stack.statuses().items()}
    result = stack.run("up")
    assert result.returncode == 0, result.stderr
    assert "nothing changed" in result.stdout
    assert {name: item["pid"] for name, item in stack.statuses().items()} == before
    assert {item["state"] for item in stack.statuses().values()} == {"healthy"}


def test_containers_have_no_more_than_they_need(stack: DockerStackUnderTest) -> None:
    """Loopback only, read-only, without capabilities, with a limit, and without Docker's socket."""
    label = f"label=com.docker.compose.project={stack.runtime.project}"
    ids = ask("ps", "--quiet", "--filter", label).split()
    assert len(ids) == len(stack.runtime.components)
    for item in json.loads(ask("inspect", *ids)):
        host = item["HostConfig"]
        ports = [
            port for ports in item["NetworkSettings"]["Ports"].values() for port in ports or ()
        ]
        is_monitor = item["Config"]["Labels"]["com.docker.compose.service"] == "monitor"
        assert {port["HostIp"] for port in ports} == (set() if is_monitor else {"127.0.0.1"})
        assert host["ReadonlyRootfs"] is True
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert host["Memory"] > 0
        assert not host["Privileged"]
        assert is_monitor or item["Config"]["Healthcheck"]["Test"][1] == "/probe"
        assert not [mount for mount in item["Mounts"] if "docker.sock" in mount["Source"]]


def test_doctor_looks_from_inside(stack: DockerStackUnderTest) -> None:
    """The monitor reaches every program; rules and retention are read back from here."""
    stack.wait_for({"service_name": MONITOR_SERVICE, "component": "victorialogs"}, 1)
    result = stack.run("doctor")
    assert result.returncode == 0, result.stdout + result.stderr
    for text in ("programs run and answer", "were accepted", "the engine keeps 30 days"):
        assert text in result.stdout


def test_secrets_are_in_one_private_file(stack: DockerStackUnderTest) -> None:
    """Nobody else on the machine reads them."""
    private = stack.runtime.run_dir / "compose.env"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(private.parent.stat().st_mode) == 0o700
    for secret in stack.runtime.secrets().values():
        for path in stack.runtime.run_dir.rglob("*"):
            assert path == private or not path.is_file() or secret not in path.read_text()


def test_alerts_are_those_of_the_containers(stack: DockerStackUnderTest) -> None:
    """Every rule that is listed is loaded there."""
    result = stack.run("alerts", "list", "--json")
    assert result.returncode == 0, result.stderr
    rules = json.loads(result.stdout)
    assert rules
    assert [rule["name"] for rule in rules if rule["state"] == "not loaded"] == []


def test_a_channel_that_refuses_says_why(own_stack: DockerStackUnderTest) -> None:
    """From what the container of Alertmanager printed."""
    for name, text in {
        "email_to": '["somebody@example.com"]',
        "email_from": "logstack@example.com",
        "smtp_server": "127.0.0.1:9",
    }.items():
        own_stack.variables[variable_name("receivers", name)] = text
    own_stack.up()
    result = own_stack.run("alerts", "send", "--channel", "email")
    assert result.returncode == 1
    assert "email: not delivered: " in result.stderr
    assert "127.0.0.1:9: connect: connection refused" in result.stderr
    assert "Alertmanager's log: docker logs logstack-" in result.stderr


def test_an_engine_that_is_stopped_is_an_alert_while_it_is_stopped(
    own_stack: DockerStackUnderTest,
) -> None:
    """No rule can see it: the monitor tells Alertmanager."""
    own_stack.variables |= {
        variable_name("monitor", "interval"): "1s",
        variable_name("alerts", "rules"): '{ComponentDown = {for = "1s"}}',
    }
    own_stack.up()
    label = f"label=com.docker.compose.project={own_stack.runtime.project}"
    service = "label=com.docker.compose.service=victorialogs"
    ask("stop", ask("ps", "--quiet", "--filter", label, "--filter", service).strip())

    def alerts() -> list[str]:
        url = own_stack.target.url("alertmanager", "/api/v2/alerts?active=true")
        labels = [item["labels"] for item in requests.get(url, timeout=10).json()]
        return [x["component"] for x in labels if x["alertname"] == "ComponentDown"]

    poll(lambda: alerts() == ["victorialogs"], lambda: f"an alert, got {alerts()}", timeout=120)


def test_down_keeps_the_records(own_stack: DockerStackUnderTest) -> None:
    """The volumes outlive the containers."""
    own_stack.up()
    marker = json.loads(own_stack.run("smoke", "--json").stdout)["marker"]
    assert own_stack.run("down").returncode == 0
    own_stack.up()
    assert own_stack.count({"marker": marker}) == 1


def test_clean_after_down_removes_the_volumes(own_stack: DockerStackUnderTest) -> None:
    """And everything that was written beside them."""
    own_stack.up()
    label = f"label=com.docker.compose.project={own_stack.runtime.project}"
    assert own_stack.run("down").returncode == 0
    assert ask("volume", "ls", "--quiet", "--filter", label) != ""
    result = own_stack.run("clean", "--yes")
    assert result.returncode == 0, result.stderr
    assert "Nothing to remove" not in result.stderr
    assert ask("volume", "ls", "--quiet", "--filter", label) == ""
    assert not own_stack.runtime.run_dir.exists()
    assert not own_stack.runtime.data_dir.exists()


def test_a_container_that_exits_at_start_shows_its_last_lines(
    own_stack: DockerStackUnderTest,
) -> None:
    """And nothing of this start goes on."""
    own_stack.variables[variable_name("images", "alertmanager")] = own_stack.runtime.image(
        "vmalert"
    )
    own_stack.variables[variable_name("timing", "start_timeout")] = "15s"
    result = own_stack.run("up")
    assert result.returncode == 1
    assert "cannot start alertmanager: " in result.stderr
    assert "flag provided but not defined" in result.stderr
    label = f"label=com.docker.compose.project={own_stack.runtime.project}"
    assert ask("ps", "--all", "--quiet", "--filter", label) == ""


def test_a_taken_port_is_named(own_stack: DockerStackUnderTest) -> None:
    """With the setting that moves all of them."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", own_stack.settings.ports.alertmanager))
        taken.listen()
        result = own_stack.run("up")
    assert result.returncode == 1
    assert str(own_stack.settings.ports.alertmanager) in result.stderr
    assert "LOGSTACK_PORTS__OFFSET=" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_image_that_cannot_be_pulled_is_named(own_stack: DockerStackUnderTest) -> None:
    """Before anything is started, with what to do without it."""
    own_stack.variables[variable_name("images", "alertmanager")] = "localhost:9/none:{version}"
    result = own_stack.run("up")
    assert result.returncode == 1
    assert "localhost:9/none:" in result.stderr
    assert "cannot pull " in result.stderr
    assert "./logstack images build" in result.stderr


def fake_docker(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")


def test_no_docker_falls_back_only_where_it_is_not_demanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The automatic choice says why; a demand fails with what to type."""
    monkeypatch.setenv("PATH", str(tmp_path))
    folders = {
        variable_name("paths", "run"): str(tmp_path / "run"),
        variable_name("paths", "data"): str(tmp_path / "data"),
    }
    automatic = settings.load(folders)
    demanded = settings.load({**folders, variable_name("stack", "runtime"): "docker"})
    choice = runtime.choose(automatic, lambda name, text: None)
    assert choice.name == "native"
    assert choice.reason.startswith("cannot use Docker: the program `docker` is not on PATH")
    with pytest.raises(DockerError, match="RUNTIME=native make up"):
        runtime.choose(demanded, lambda name, text: None)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo 'Cannot connect to the Docker daemon' >&2; exit 1",
            "cannot use Docker: its engine does not answer",
        ),
        ("echo 19.03.15", "version 20.10 or newer, got 19.03.15"),
        (
            '[ "$1" = version ] && echo 27.0.1',
            r"Compose v2 \(`docker compose`\) is not installed",
        ),
    ],
    ids=["silent", "old", "without Compose"],
)
def test_an_engine_that_cannot_be_used_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    """What is missing, and which command to run."""
    fake_docker(tmp_path, script, monkeypatch)
    values = settings.load({variable_name("paths", "cache"): str(tmp_path / "empty")})
    with pytest.raises(DockerError, match=message) as caught:
        check_engine(values)
    assert "RUNTIME=native make up" in str(caught.value)


def test_errors_of_compose_are_translated() -> None:
    """A full disk, and the agent's not being allowed to read Docker's files."""
    assert "docker system prune" in explain("write /x: no space left on device")
    denied = 'open "/var/lib/docker/containers/1/1-json.log": permission denied'
    assert "SELinux" in log_hint("otelcol", denied)
    assert "SELinux" not in log_hint("loki", denied)
    assert log_hint("loki", "all is well") == ""
    assert docker_engine.OLDEST_ENGINE == (20, 10)


def test_logs_that_the_agent_may_not_read_are_named(local_images: Settings, tmp_path: Path) -> None:
    """As with SELinux or user namespaces: nothing would arrive, and nobody would know."""
    image = docker.DockerRuntime(local_images).image("sample_app")
    log = tmp_path / "1" / "1-json.log"
    log.parent.mkdir()
    log.write_text("{}\n", encoding="utf-8")
    for path in (tmp_path, log.parent, log):
        os.chown(path, 12345, 12345)
    tmp_path.chmod(0o755)
    log.parent.chmod(0o755)
    log.chmod(0o644)
    check_log_mount(image, str(tmp_path))
    log.chmod(0o600)
    with pytest.raises(DockerError, match=r"may not read Docker's log files.*Permission.*SELinux"):
        check_log_mount(image, str(tmp_path))


def test_a_disk_without_room_is_named_before_anything_starts(
    own_stack: DockerStackUnderTest,
) -> None:
    """With what makes room."""
    own_stack.variables[variable_name("limits", "free_disk")] = "900000GiB"
    result = own_stack.run("up")
    assert result.returncode == 1
    assert "expected at least 900000GiB free in" in result.stderr
    assert "docker system prune" in result.stderr
    label = f"label=com.docker.compose.project={own_stack.runtime.project}"
    assert ask("ps", "--all", "--quiet", "--filter", label) == ""
    check_room(Path("/nowhere"), own_stack.settings)  # an engine elsewhere cannot be asked


def test_a_volume_of_an_image_with_another_user_is_named(own_stack: DockerStackUnderTest) -> None:
    """As a previous version may have left it: the log's words, and what to do about it."""
    runtime = own_stack.runtime
    volume = f"{runtime.project}_victorialogs"
    label = f"--label=com.docker.compose.project={runtime.project}"
    ask("volume", "create", label, "--label=com.docker.compose.volume=victorialogs", volume)
    script = "mkdir -p /data/victorialogs && chmod 700 /data/victorialogs"
    options = ("--rm", "--user=0:0", "--entrypoint=sh", f"--volume={volume}:/data")
    ask("run", *options, runtime.image("sample_app"), "-c", script)
    own_stack.variables[variable_name("timing", "start_timeout")] = "15s"
    result = own_stack.run("up")
    assert result.returncode == 1
    assert "cannot start victorialogs: " in result.stderr
    assert "permission denied" in result.stderr
    assert "docker volume rm" in result.stderr


def test_a_volume_of_an_older_definition_is_kept(own_stack: DockerStackUnderTest) -> None:
    """Compose offers to create such a volume again, which would cost its data."""
    own_stack.up()
    marker = json.loads(own_stack.run("smoke", "--json").stdout)["marker"]
    assert own_stack.run("down").returncode == 0
    runtime = own_stack.runtime
    volume = f"{runtime.project}_victorialogs"
    copy_volume(runtime.image("sample_app"), volume, f"{volume}_copy", {})
    ask("volume", "rm", volume)
    older = {
        "com.docker.compose.project": runtime.project,
        "com.docker.compose.volume": "victorialogs",
        "com.docker.compose.version": "2.20.0",
        "com.docker.compose.config-hash": "0" * 64,
    }
    copy_volume(runtime.image("sample_app"), f"{volume}_copy", volume, older)
    ask("volume", "rm", f"{volume}_copy")
    own_stack.up()
    assert own_stack.count({"marker": marker}) == 1


def copy_volume(image: str, source: str, target: str, labels: dict[str, str]) -> None:
    """Make a volume with the same files, owners and modes."""
    ask("volume", "create", *(f"--label={name}={value}" for name, value in labels.items()), target)
    mounts = (f"--volume={source}:/source:ro", f"--volume={target}:/target")
    options = ("--rm", "--user=0:0", "--network=none", "--entrypoint=cp", *mounts)
    ask("run", *options, image, "-a", "/source/.", "/target/")
